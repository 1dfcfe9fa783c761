#include "stages/cost/dataset_size.h"

#include "storage/error.h"
#include "storage/formats/idx.h"
#include "storage/tables/row_table.h"
#include "storage/tables/table_manifest.h"

#include <algorithm>
#include <filesystem>

namespace couplet {

namespace {

bool is_prepared(const RunDirectory& run) {
  return std::filesystem::exists(run.train_images() / "manifest.json") &&
         std::filesystem::exists(run.test_images() / "manifest.json");
}

std::int64_t classes_of(const std::filesystem::path& labels) {
  const IdxArray array = read_idx(labels);
  return array.values.empty() ? 0 : std::int64_t{*std::ranges::max_element(array.values)} + 1;
}

/// Rows of a split of which `limit` are taken; 0: all.
std::int64_t rows_of(const std::filesystem::path& images, std::int64_t limit) {
  const std::int64_t rows = read_idx_shape(images).at(0);
  return limit > 0 ? std::min(limit, rows) : rows;
}

}  // namespace

DatasetSize dataset_size(const Config& config, const RunDirectory& run) {
  if (is_prepared(run)) {
    const RowTable train(run.train_images(), "couplet-dataset"), test(run.test_images(), "couplet-dataset");
    return {train.rows(), test.rows(), dataset_shape(train)};
  }
  const PrepareConfig& prepare = config.prepare;
  const std::filesystem::path source = prepare.source, images = source / prepare.train_images;
  const auto shape = read_idx_shape(images);
  if (shape.size() != 3 || shape[1] != shape[2])
    fail("{}: the models take square images, one plane of bytes each", images.string());
  const std::int64_t classes =
      std::max(classes_of(source / prepare.train_labels), classes_of(source / prepare.test_labels));
  return {rows_of(images, prepare.train_rows),
          rows_of(source / prepare.test_images, prepare.test_rows),
          {1, shape[1], classes, {}}};
}

}  // namespace couplet
