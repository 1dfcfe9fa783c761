// A data set of shards that was prepared before, by this program.
#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "method/data/image_source.h"
#include "method/data/selected_images.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace couplet {
namespace {

/// The tables of a data set: of both splits, or one of which a part is to be held out.
struct TablePlaces {
  fs::path train;
  std::optional<fs::path> test;
};

bool is_table_folder(const fs::path& folder) {
  return is_there(folder / manifest_name);
}

/// A table itself, a folder with the tables train and test, or a run with prepare/train and prepare/test.
std::optional<TablePlaces> find_tables(const fs::path& folder) {
  if (is_table_folder(folder)) return TablePlaces{folder, std::nullopt};
  for (const fs::path& parent : {folder, folder / "prepare"})
    if (is_table_folder(parent / "train") && is_table_folder(parent / "test"))
      return TablePlaces{parent / "train", parent / "test"};
  return std::nullopt;
}

/// Stored values of a column: [C, H, W] of pixels or of numbers that models see as they are.
ImageSetShape stored_shape(const RowTable& table) {
  const Column& column = table.columns().at(table.column("image"));
  const auto codec = codec_of(table);
  if (column.shape.size() != 3 || (codec->name() != "uint8" && codec->name() != "float") ||
      column.type != codec->stored_type())
    refuse(
        "{}: its images are {} of {} axes, stored by the codec {}; a data set is taken over from tables of pixels "
        "(uint8) or numbers (float)",
        table.path().string(), element_name(column.type), column.shape.size(), codec->name());
  return {table.rows(), column.shape[0], column.shape[1], column.shape[2]};
}

std::int64_t classes_of_table(const RowTable& table) {
  const auto classes = json_member<std::int64_t>(table.provenance(), "classes", table.path().string());
  if (classes < 0) fail("{}: claims {} classes", table.path().string(), classes);
  return classes;
}

class StoredImages : public SourceImages {
public:
  explicit StoredImages(std::unique_ptr<RowTable> table)
      : SourceImages(table->path().string(), stored_shape(*table)),
        table_(std::move(table)),
        type_(table_->columns().at(table_->column("image")).type),
        labels_(static_cast<std::size_t>(table_->rows())) {
    const std::size_t column = table_->column("label");
    if (table_->columns()[column].type != ElementType::int32 || !table_->columns()[column].shape.empty())
      refuse("{}: its labels are {} of {} axes; expected an int32 a row", name(),
             element_name(table_->columns()[column].type), table_->columns()[column].shape.size());
    table_->read(column, 0, table_->rows(), std::as_writable_bytes(std::span(labels_)));
    const std::int64_t classes = std::max<std::int64_t>(classes_of_table(*table_), 1);
    for (std::size_t row = 0; row < labels_.size(); ++row)
      if (labels_[row] < 0 || labels_[row] >= classes)
        fail("{}: row {} has the label {}; the table has {} classes", name(), row, labels_[row], classes);
  }

  ElementType type() const override { return type_; }
  at::Tensor read(std::int64_t first, std::int64_t count) override { return read_rows(*table_, "image", first, count); }
  std::int64_t label(std::int64_t image) const override { return labels_[static_cast<std::size_t>(image)]; }
  std::string image_name(std::int64_t image) const override { return fmt::format("row {} of {}", image, name()); }
  /// That of the shards: the same rows in shards of another size are another data set.
  std::string content_hash() const override {
    table_->require_shards();
    return table_->content_hash();
  }

private:
  std::unique_ptr<RowTable> table_;
  ElementType type_;
  std::vector<std::int32_t> labels_;
};

std::unique_ptr<RowTable> open_table(const fs::path& folder) {
  return std::make_unique<RowTable>(folder, dataset_format, ReadOptions::foreign());
}

ImageSource open_table_source(const SourceOptions& options) {
  const std::optional<TablePlaces> places = find_tables(options.folder);
  if (!places)
    refuse(
        "{}: holds no data set of this program: expected the {} of a table, or folders train and test that have one "
        "(RUN/prepare, or RUN)",
        options.folder.string(), manifest_name);
  auto train = open_table(places->train);
  const std::int64_t classes = classes_of_table(*train);
  if (!places->test)
    return held_out_source(std::make_unique<StoredImages>(std::move(train)), classes, options.held_out);
  auto test = open_table(*places->test);
  if (classes_of_table(*test) != classes)
    refuse("{} has {} classes but {} has {}: they are not of one data set", places->train.string(), classes,
           places->test->string(), classes_of_table(*test));
  return {.classes = classes,
          .train = std::make_unique<StoredImages>(std::move(train)),
          .test = std::make_unique<StoredImages>(std::move(test))};
}

/// The manifests, which hold the hashes of the shards.
std::vector<SourceFile> table_files(const SourceOptions& options) {
  std::vector<SourceFile> files;
  const std::optional<TablePlaces> places = find_tables(options.folder);
  if (places) files.push_back({places->train / manifest_name, "prepare.source"});
  if (places && places->test) files.push_back({*places->test / manifest_name, "prepare.source"});
  if (!places && !is_there(options.folder)) files.push_back({options.folder / manifest_name, "prepare.source"});
  return files;
}

}  // namespace

SourceKind table_source() {
  return {"table", "a data set of shards that was prepared before (RUN/prepare)", open_table_source, table_files};
}

}  // namespace couplet
