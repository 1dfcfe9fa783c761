#include "storage/parquet/parquet_images.h"

#include "storage/error.h"
#include "storage/json_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace couplet {
namespace {

bool has_name(const std::string& name, std::initializer_list<const char*> names) {
  return std::ranges::find(names, name) != names.end();
}

/// The features that Hugging Face's `datasets` notes: {"info": {"features": {"label": {"_type": "ClassLabel", …}}}}.
nlohmann::json features_in(const std::string& what, const std::string& text) {
  if (text.empty()) return nlohmann::json::object();
  const nlohmann::json all = parse_json(text, what + ": the metadata under the key huggingface");
  if (!all.is_object() || !all.contains("info") || !all["info"].is_object()) return nlohmann::json::object();
  const nlohmann::json features = all["info"].value("features", nlohmann::json::object());
  return features.is_object() ? features : nlohmann::json::object();
}

/// The name of the only feature of that type; "" if there is none or there are several.
std::string feature_of_type(const nlohmann::json& features, const char* type) {
  std::string found;
  for (const auto& [name, feature] : features.items()) {
    if (!feature.is_object() || !feature.contains("_type") || feature["_type"] != type) continue;
    if (!found.empty()) return "";
    found = name;
  }
  return found;
}

std::vector<std::string> class_names_in(const nlohmann::json& features, const std::string& column) {
  std::vector<std::string> names;
  if (!features.contains(column) || !features[column].is_object()) return names;
  for (const nlohmann::json& name : features[column].value("names", nlohmann::json::array()))
    if (name.is_string()) names.push_back(name.get<std::string>());
  return names;
}

}  // namespace

ParquetImages::ParquetImages(const std::filesystem::path& path, const ParquetNames& names)
    : path_(path),
      file_(FileHandle::open_to_read(path)),
      metadata_(read_parquet_metadata(path.string(), file_)),
      pages_(metadata_.groups.size()) {
  find_columns(names);
  std::int64_t rows = 0;
  for (const ParquetRowGroup& group : metadata_.groups) group_ends_.push_back(rows += group.rows);
}

std::string ParquetImages::columns_text() const {
  std::vector<std::string> names;
  for (const ParquetColumn& column : metadata_.columns) names.push_back(column.path);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string ParquetImages::what(std::size_t column) const {
  return fmt::format("{}: column '{}'", path_.string(), metadata_.columns[column].path);
}

/// The column of that name, or with that name and "bytes" below it.
std::size_t ParquetImages::column_of_name(const char* key, const std::string& name) const {
  for (std::size_t i = 0; i < metadata_.columns.size(); ++i)
    if (metadata_.columns[i].path == name || metadata_.columns[i].path == name + ".bytes") return i;
  refuse("{}: has no column of {} named '{}'; it has {}", path_.string(), key, name, columns_text());
}

void ParquetImages::find_columns(const ParquetNames& names) {
  const nlohmann::json features = features_in(path_.string(), metadata_.huggingface);
  std::string images = names.images, labels = names.labels;
  if (images.empty()) images = feature_of_type(features, "Image");
  if (labels.empty()) labels = feature_of_type(features, "ClassLabel");
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < metadata_.columns.size(); ++i) {
    const ParquetColumn& column = metadata_.columns[i];
    if (column.type == ParquetType::byte_array && !column.is_repeated &&
        (column.path.ends_with(".bytes") || has_name(column.path, {"image", "img", "jpg", "png", "webp"})))
      found.push_back(i);
    if (labels.empty() && has_name(column.path, {"label", "labels", "fine_label", "class", "cls"}))
      labels = column.path;
  }
  if (!images.empty()) found = {column_of_name("images", images)};
  if (found.size() != 1)
    refuse("{}: {} of its columns hold images by their names; name the one that does: it has {}", path_.string(),
           found.empty() ? "none" : "several", columns_text());
  images_ = found.front();
  if (!labels.empty() && labels != "none") {
    labels_ = column_of_name("labels", labels);
    class_names_ = class_names_in(features, labels);
  }
  const ParquetColumn& image = metadata_.columns[images_];
  if (image.type != ParquetType::byte_array || image.is_repeated)
    refuse("{}: holds {}; images are bytes, one a row", what(images_), image.is_repeated ? "lists" : "no bytes");
  if (labels_ == none) return;
  const ParquetColumn& label = metadata_.columns[labels_];
  if ((label.type != ParquetType::int32 && label.type != ParquetType::int64) || label.is_repeated)
    refuse("{}: holds {}; labels are integers, one a row", what(labels_), label.is_repeated ? "lists" : "no integers");
}

std::string ParquetImages::label_column() const {
  return labels_ == none ? "" : metadata_.columns[labels_].path;
}

ParquetImages::Pages ParquetImages::read_pages(std::size_t group, std::size_t column) const {
  const ParquetChunk& chunk = metadata_.groups[group].chunks[column];
  Pages pages;
  std::int64_t row = 0;
  for (std::uint64_t offset = chunk.first_byte, end = chunk.first_byte + chunk.bytes; offset < end;) {
    const ParquetPage page = read_parquet_page(what(column), file_, offset, end - offset);
    if (page.kind == ParquetPage::Kind::dictionary) {
      pages.dictionary = std::make_shared<const ParquetValues>(
          read_parquet_values(what(column), file_, metadata_.columns[column], chunk.packing, page, offset, nullptr));
    } else if (page.kind == ParquetPage::Kind::data || page.kind == ParquetPage::Kind::data_v2) {
      pages.data.push_back({offset, page, row});
      if (__builtin_add_overflow(row, page.values, &row)) fail("{}: is damaged: pages without end", what(column));
    }
    offset += page.header_bytes + page.packed_bytes;
  }
  if (row != metadata_.groups[group].rows)
    fail("{}: is damaged: {} rows in the pages of a group of {}", what(column), row, metadata_.groups[group].rows);
  return pages;
}

ParquetValues ParquetImages::read_values(std::size_t group, std::size_t column, const Pages& pages,
                                         const Place& place) const {
  return read_parquet_values(what(column), file_, metadata_.columns[column],
                             metadata_.groups[group].chunks[column].packing, place.page, place.offset,
                             pages.dictionary.get());
}

std::vector<std::byte> ParquetImages::image(std::int64_t row) const {
  if (row < 0 || row >= rows()) fail("{}: has no row {} of {}", path_.string(), row, rows());
  const auto group = static_cast<std::size_t>(std::ranges::upper_bound(group_ends_, row) - group_ends_.begin());
  const std::int64_t number = row - (group_ends_[group] - metadata_.groups[group].rows);
  std::shared_ptr<const Pages> pages;
  std::shared_ptr<const ParquetValues> values;
  const Place* place = nullptr;
  const auto find_place = [&] { place = &*(std::ranges::upper_bound(pages->data, number, {}, &Place::first_row) - 1); };
  {
    const std::lock_guard lock(mutex_);
    if (!pages_[group]) pages_[group] = std::make_shared<const Pages>(read_pages(group, images_));
    pages = pages_[group];
    find_place();
    if (last_ && last_offset_ == place->offset) values = last_;
  }
  if (!values) {
    values = std::make_shared<const ParquetValues>(read_values(group, images_, *pages, *place));
    const std::lock_guard lock(mutex_);
    last_ = values;
    last_offset_ = place->offset;
  }
  if (values->is_missing(number - place->first_row))
    fail("{}: row {} has no bytes; images that stand as paths alone are not read", what(images_), row);
  const std::span<const std::byte> bytes = values->value(number - place->first_row);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::int32_t> ParquetImages::labels() const {
  std::vector<std::int32_t> labels;
  if (labels_ == none) return labels;
  labels.reserve(static_cast<std::size_t>(std::min<std::int64_t>(rows(), 1 << 24)));
  for (std::size_t group = 0; group < metadata_.groups.size(); ++group) {
    const Pages pages = read_pages(group, labels_);
    for (const Place& place : pages.data) {
      const ParquetValues values = read_values(group, labels_, pages, place);
      for (std::int64_t i = 0; i < values.rows(); ++i) {
        if (values.is_missing(i)) fail("{}: row {} has none", what(labels_), labels.size());
        std::int64_t label = 0;
        const std::span<const std::byte> bytes = values.value(i);
        if (bytes.size() == sizeof(std::int32_t)) {
          std::int32_t narrow = 0;
          std::memcpy(&narrow, bytes.data(), sizeof narrow);
          label = narrow;
        } else {
          std::memcpy(&label, bytes.data(), sizeof label);
        }
        if (label < 0 || label > std::numeric_limits<std::int32_t>::max())
          fail("{}: has the label {} in row {}; labels are 0 to 2147483647", what(labels_), label, labels.size());
        labels.push_back(static_cast<std::int32_t>(label));
      }
    }
  }
  return labels;
}

}  // namespace couplet
