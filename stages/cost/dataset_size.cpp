#include "stages/cost/dataset_size.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "stages/data/run_source.h"
#include "storage/error.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_table.h"
#include "storage/tables/table_manifest.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace couplet {

namespace {

bool is_prepared(const RunDirectory& run) {
  return std::filesystem::exists(run.train_images() / manifest_name) &&
         std::filesystem::exists(run.test_images() / manifest_name);
}

/// Rows of a split of which `limit` are taken; 0: all.
std::int64_t rows_of(const SourceImages& images, std::int64_t limit) {
  return limit > 0 ? std::min(limit, images.shape().images) : images.shape().images;
}

}  // namespace

DatasetSize dataset_size(const Config& config, const RunDirectory& run) {
  if (is_prepared(run)) {
    const RowTable train(run.train_images(), dataset_format), test(run.test_images(), dataset_format);
    return {train.rows(), test.rows(), dataset_shape(train)};
  }
  const ImageSource source = open_source(config.prepare);
  const ImageSetShape& shape = source.train->shape();
  if (shape.height != shape.width)
    fail("{}: images of {}; the models take square ones", source.train->name(), shape.image_text());
  return {rows_of(*source.train, config.prepare.train_rows),
          rows_of(*source.test, config.prepare.test_rows),
          {shape.channels,
           shape.height,
           source.classes,
           {},
           find_codec(config.prepare.codec).make(nlohmann::json::object())}};
}

}  // namespace couplet
