#include "launch/inspect/dataset_description.h"

#include "method/data/dataset.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_classes_printed = 20;

const Column& image_column(const RowSource& source) {
  return source.columns()[*source.find("image")];
}

/// The other split of the run or folder in which a table lies: "test" beside "train".
std::optional<std::filesystem::path> split_beside(const RowSource& source) {
  if (!source.is_table()) return std::nullopt;
  const std::filesystem::path path = (source.path() / "").parent_path();
  const std::string name = path.filename().string();
  if (name != "train" && name != "test") return std::nullopt;
  const std::filesystem::path other = path.parent_path() / (name == "train" ? "test" : "train");
  return is_there(other / manifest_name) ? std::optional(other) : std::nullopt;
}

ImageHashes hashes_of(const RowSource& source) {
  ImageHashes hashes;
  const auto size = static_cast<std::size_t>(image_column(source).row_bytes());
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < source.rows(); first += source.rows_at_once()) {
    const std::int64_t count = std::min(source.rows_at_once(), source.rows() - first);
    bytes.resize(static_cast<std::size_t>(count) * size);
    source.read(*source.find("image"), first, count, bytes);
    for (std::size_t at = 0; at < bytes.size(); at += size) hashes.add(std::span(bytes).subspan(at, size));
  }
  return hashes;
}

}  // namespace

bool DatasetDescription::applies_to(const RowSource& source) {
  if (source.format() != dataset_format || !source.find("image") || !source.find("label")) return false;
  const Column& image = image_column(source);
  return image.type == ElementType::uint8 && image.shape.size() == 3 && image.row_bytes() > 0;
}

DatasetDescription::DatasetDescription(const RowSource& source)
    : source_(source),
      pixels_(image_column(source).shape[1] * image_column(source).shape[2]),
      image_bytes_(static_cast<std::int64_t>(image_column(source).row_bytes())),
      channels_(image_column(source).shape[0]) {}

void DatasetDescription::add(std::span<const std::byte> images, std::span<const std::byte> labels) {
  channels_.add({reinterpret_cast<const std::uint8_t*>(images.data()), images.size()}, pixels_);
  const auto size = static_cast<std::size_t>(image_bytes_);
  for (std::size_t at = 0; at < images.size(); at += size) hashes_.add(images.subspan(at, size));
  for (std::size_t at = 0; at < labels.size(); at += sizeof(std::int32_t)) {
    std::int32_t label = 0;
    std::memcpy(&label, labels.data() + at, sizeof label);
    ++classes_[label];
  }
}

Json DatasetDescription::to_json() {
  Json json{{"classes", Json::array()}, {"channels", Json::array()}};
  const auto names = source_.summary().find("class_names");
  for (const auto& [label, count] : classes_) {
    Json one{{"label", label}, {"rows", count}};
    if (names != source_.summary().end() && label >= 0 && static_cast<std::size_t>(label) < names->size())
      one["name"] = names->at(static_cast<std::size_t>(label));
    json["classes"].push_back(std::move(one));
  }
  for (std::int64_t c = 0; c < channels_.channels(); ++c)
    json["channels"].push_back({{"mean", channels_.mean(c)}, {"deviation", channels_.deviation(c)}});
  const auto beside = split_beside(source_);
  if (!beside) {
    json["repeated_rows"] = hashes_.sort_and_count_repeated();
    return json;
  }
  const RowSource other(*beside);
  const bool is_training = beside->filename() == "test";
  ImageHashes others = hashes_of(other);
  const DuplicateImages found = is_training ? find_duplicates(std::move(hashes_), std::move(others))
                                            : find_duplicates(std::move(others), std::move(hashes_));
  json["repeated_rows"] = is_training ? found.repeated_in_training : found.repeated_in_held_out;
  json["held_out_in_training"] = found.held_out_in_training;
  json["examples"] = Json::array();
  for (const auto& [train, test] : found.examples) json["examples"].push_back({{"train", train}, {"test", test}});
  return json;
}

void print_dataset(const Json& dataset) {
  const auto fact = [](const std::string& name, const std::string& text) { fmt::print("  {:<18} {}\n", name, text); };
  const Json& classes = dataset.at("classes");
  std::vector<std::string> counts;
  for (std::size_t i = 0; i < std::min(classes.size(), most_classes_printed); ++i)
    counts.push_back(fmt::format("{} {}",
                                 classes[i].contains("name") ? classes[i]["name"].get<std::string>()
                                                             : fmt::format("{}:", classes[i]["label"].get<int>()),
                                 classes[i].at("rows").get<std::int64_t>()));
  if (classes.size() > counts.size()) counts.push_back(fmt::format("{} more (--json)", classes.size() - counts.size()));
  fact("classes", fmt::format("{}: {}", classes.size(), fmt::join(counts, ", ")));
  for (std::size_t c = 0; c < dataset.at("channels").size(); ++c)
    fact(fmt::format("channel {}", c),
         fmt::format("mean {:.4f}, deviation {:.4f} of 0 … 255", dataset["channels"][c].at("mean").get<double>(),
                     dataset["channels"][c].at("deviation").get<double>()));
  fact("repeated rows",
       fmt::format("{} have the pixels of an earlier one", dataset.at("repeated_rows").get<std::int64_t>()));
  if (!dataset.contains("held_out_in_training")) return;
  fact("in both splits", fmt::format("{} held-out rows have the pixels of a training row",
                                     dataset["held_out_in_training"].get<std::int64_t>()));
  for (const Json& example : dataset.at("examples"))
    fact("", fmt::format("train {}, test {}", example.at("train").get<std::int64_t>(),
                         example.at("test").get<std::int64_t>()));
}

}  // namespace couplet
