// The rows of Parquet files, as data sets of Hugging Face have them, as files: the image of a row, and its label beside
// it, as WebDataset's archives have them.
#include "storage/archives/file_set.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/parquet/parquet_images.h"
#include "storage/text.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr std::string_view parquet_suffix = ".parquet", label_suffix = ".cls", row_image_suffix = ".image";
constexpr std::int64_t most_shard_rows = 1'000'000'000;  // of nine digits

/// "train/00000-of-00040-" of "train-00000-of-00040.parquet", "a/0-" of "a/0.parquet": what the names of a shard's rows
/// begin with. A name's extension begins at its first dot.
std::string row_prefix(std::string name) {
  const std::size_t folder = name.rfind('/') + 1;  // npos + 1 is 0
  std::string stem = name.substr(folder);
  if (stem.ends_with(parquet_suffix)) stem.resize(stem.size() - parquet_suffix.size());
  std::ranges::replace(stem, '.', '_');
  // The split stands before the shard's number.
  const std::size_t of = stem.rfind("-of-");
  const std::size_t number = of == std::string::npos || of == 0 ? std::string::npos : stem.rfind('-', of - 1);
  const auto is_digits = [](std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  };
  if (number != std::string::npos && number > 0 &&
      is_digits(std::string_view(stem).substr(number + 1, of - number - 1)) &&
      is_digits(std::string_view(stem).substr(of + 4)))
    stem[number] = '/';
  return name.substr(0, folder) + stem + "-";
}

bool is_split_name(std::string_view name) {
  return name == "train" || name == "test" || name == "val" || name == "validation";
}

/// Takes folders that all prefixes share from their front, but those that name a split.
void strip_shared_folders(std::vector<std::string>& prefixes) {
  for (;;) {
    const std::size_t end = prefixes.front().find('/') + 1;  // npos + 1 is 0
    const std::string folder = prefixes.front().substr(0, end);
    const auto shares = [&](const std::string& prefix) { return prefix.starts_with(folder); };
    if (end == 0 || is_split_name(std::string_view(folder).substr(0, end - 1)) ||
        !std::ranges::all_of(prefixes, shares))
      return;
    for (std::string& prefix : prefixes) prefix.erase(0, end);
  }
}

class ParquetFiles : public FileSet {
public:
  /// A Parquet file, or a folder in which some lie.
  explicit ParquetFiles(const fs::path& path) : FileSet(path) {
    std::vector<fs::path> places{path};
    std::vector<std::string> prefixes{""};
    if (fs::is_directory(path)) find_shards(places, prefixes);
    require_few_open(path, std::ssize(places));
    for (std::size_t i = 0; i < places.size(); ++i) add(places[i], std::move(prefixes[i]));
    std::ranges::sort(shards_, path_less, &Shard::prefix);
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      if (i > 0 && shards_[i].prefix.starts_with(shards_[i - 1].prefix))
        refuse("{}: the name of {} goes on that of {}, so that their rows would mix; rename one of them",
               utf8_text(path.string()), shown_name(shards_[i].place.string()),
               shown_name(shards_[i - 1].place.string()));
      first_.push_back(count_);
      count_ += shards_[i].images->rows() * shards_[i].files_a_row();
    }
  }

  std::int64_t count() const override { return count_; }
  std::string name(std::int64_t file) const override {
    const Row row = row_of(file);
    return fmt::format("{}{:09}{}", row.shard.prefix, row.number, row.is_label ? label_suffix : row_image_suffix);
  }
  std::uint64_t size(std::int64_t file) const override { return read_bytes(file).size(); }
  std::string stamp() const override {
    std::string stamps;
    for (const Shard& shard : shards_) stamps += shard.prefix + "\n" + archive_stamp(shard.place) + "\n";
    return hash_text(stamps);
  }
  std::string shown(std::int64_t file) const override {
    const Row row = row_of(file);
    return fmt::format("{}: row {}", utf8_text(row.shard.place.string()), row.number);
  }

private:
  struct Shard {
    std::string prefix;  ///< of its rows' names
    fs::path place;
    std::unique_ptr<ParquetImages> images;
    std::vector<std::int32_t> labels;

    std::int64_t files_a_row() const { return labels.empty() ? 1 : 2; }
  };
  struct Row {
    const Shard& shard;
    std::int64_t number = 0;
    bool is_label = false;
  };

  void find_shards(std::vector<fs::path>& places, std::vector<std::string>& prefixes) const {
    const auto folder = open_folder(path());
    places.clear();
    prefixes.clear();
    for (std::int64_t i = 0; i < folder->count(); ++i) {
      const std::string name = folder->name(i);
      if (!name.ends_with(parquet_suffix)) continue;
      places.push_back(path() / fs::path(name));
      prefixes.push_back(row_prefix(name));
    }
    if (places.empty()) refuse("{}: holds no file {}", utf8_text(path().string()), parquet_suffix);
    strip_shared_folders(prefixes);
  }

  void add(const fs::path& place, std::string prefix) {
    auto images = std::make_unique<ParquetImages>(place);
    if (images->rows() >= most_shard_rows)
      refuse("{}: has {} rows; a file may have {}", utf8_text(place.string()), images->rows(), most_shard_rows - 1);
    std::vector<std::int32_t> labels = images->labels();
    shards_.push_back({std::move(prefix), place, std::move(images), std::move(labels)});
  }

  Row row_of(std::int64_t file) const {
    const auto after = std::ranges::upper_bound(first_, file);
    const auto number = static_cast<std::size_t>(after - first_.begin() - 1);
    const Shard& shard = shards_[number];
    const std::int64_t place = file - first_[number];
    // "….cls" stands before "….image".
    return {shard, place / shard.files_a_row(), !shard.labels.empty() && place % 2 == 0};
  }

  std::vector<std::byte> read_bytes(std::int64_t file) const override {
    const Row row = row_of(file);
    if (!row.is_label) return row.shard.images->image(row.number);
    const std::string label = std::to_string(row.shard.labels[static_cast<std::size_t>(row.number)]);
    const auto bytes = std::as_bytes(std::span(label));
    return {bytes.begin(), bytes.end()};
  }

  std::vector<Shard> shards_;
  std::vector<std::int64_t> first_;  ///< the first file of each shard
  std::int64_t count_ = 0;
};

}  // namespace

std::unique_ptr<FileSet> open_parquet(const fs::path& path) {
  return std::make_unique<ParquetFiles>(path);
}

bool has_parquet(const FileSet& folder) {
  constexpr std::int64_t most_looked_at = 1000;
  for (std::int64_t i = 0; i < std::min(folder.count(), most_looked_at); ++i)
    if (folder.name(i).ends_with(parquet_suffix) &&
        file_set_kind(folder.path() / fs::path(folder.name(i))) == FileSetKind::parquet)
      return true;
  return false;
}

}  // namespace couplet
