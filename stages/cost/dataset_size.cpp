#include "stages/cost/dataset_size.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "stages/data/run_source.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_table.h"
#include "storage/tables/table_manifest.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace couplet {

namespace {

bool is_prepared(const RunDirectory& run) {
  return std::filesystem::exists(run.train_images() / manifest_name) &&
         std::filesystem::exists(run.test_images() / manifest_name);
}

}  // namespace

DatasetSize source_size(const Config& config, const RunDirectory& run) {
  const ImageSource source = open_source(config.prepare, run);
  const ImageSetShape& shape = source.train->shape();
  require_images(source, config.prepare);
  return {used_rows(*source.train, config.prepare.train_rows, "prepare.train-rows"),
          used_rows(*source.test, config.prepare.test_rows, "prepare.test-rows"),
          {shape.channels,
           shape.height,
           source.classes,
           {},
           find_codec(config.prepare.codec).make(nlohmann::json::object()),
           low_resolution(config.prepare)}};
}

DatasetSize dataset_size(const Config& config, const RunDirectory& run) {
  if (is_prepared(run)) {
    const RowTable train(run.train_images(), dataset_format), test(run.test_images(), dataset_format);
    return {train.rows(), test.rows(), dataset_shape(train)};
  }
  return source_size(config, run);
}

}  // namespace couplet
