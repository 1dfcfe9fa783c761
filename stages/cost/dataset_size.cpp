#include "stages/cost/dataset_size.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "stages/data/run_source.h"
#include "stages/data/seen_rows.h"
#include "storage/error.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_table.h"
#include "storage/tables/table_manifest.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace couplet {

namespace {

bool is_published(const std::filesystem::path& table) {
  return std::filesystem::exists(table / manifest_name);
}

/// Knows how large latents are; what becomes of them, and of pixels, their program alone knows.
class LatentsToCome : public Codec {
public:
  explicit LatentsToCome(std::vector<std::int64_t> pixel_shape)
      : Codec("latent", ElementType::float16), pixel_shape_(std::move(pixel_shape)) {}
  at::Tensor encode(const at::Tensor&) const override { fail("the latents are not made yet"); }
  at::Tensor decode(const at::Tensor&) const override { fail("the latents are not made yet"); }
  std::vector<std::int64_t> pixel_shape(std::vector<std::int64_t>) const override { return pixel_shape_; }
  bool tables_hold_seen() const override { return true; }
  double levels() const override { return 0; }

private:
  std::vector<std::int64_t> pixel_shape_;
};

/// Of the latents of a data set.
DatasetSize latents_of(DatasetSize images, const Config& config, const RunDirectory& run) {
  if (!encodes_images(config)) return images;
  const std::vector<std::int64_t> pixels = images.shape.pixel_shape(), shape = latent_shape(config, run, pixels);
  if (config.latents.flips) images.train_rows *= 2;
  images.shape.channels = shape[0];
  images.shape.size = shape[1];
  images.shape.codec = std::make_shared<LatentsToCome>(pixels);
  return images;
}

/// What models see of images of this shape, or of latents [2 C, h, w] that were made elsewhere.
DatasetShape shape_of_source(const ImageSource& source, const Config& config, const RunDirectory& run) {
  const ImageSetShape& shape = source.train->shape();
  DatasetShape seen{shape.channels, shape.height, source.classes, {}, nullptr, low_resolution(config.prepare)};
  if (has_latents(config) && !encodes_images(config)) {
    seen.channels /= 2;
    seen.codec = std::make_shared<LatentsToCome>(latent_pixels(config, run, {seen.channels, shape.height, shape.width}));
  } else {
    seen.codec = find_codec(config.prepare.codec).make(nlohmann::json::object(), {});
  }
  return seen;
}

}  // namespace

DatasetSize source_images(const Config& config, const RunDirectory& run) {
  const ImageSource source = open_source(config.prepare, run);
  require_images(source, config.prepare);
  const std::int64_t rows = used_rows(*source.train, config.prepare.train_rows, "prepare.train-rows");
  return {rows, used_rows(*source.test, config.prepare.test_rows, "prepare.test-rows"), shape_of_source(source, config, run),
          rows};
}

std::optional<DatasetSize> prepared_images(const RunDirectory& run) {
  if (!is_published(run.train_images()) || !is_published(run.test_images())) return std::nullopt;
  const RowTable train(run.train_images(), dataset_format), test(run.test_images(), dataset_format);
  return DatasetSize{train.rows(), test.rows(), dataset_shape(train), train.rows()};
}

DatasetSize source_size(const Config& config, const RunDirectory& run) {
  return latents_of(source_images(config, run), config, run);
}

DatasetSize dataset_size(const Config& config, const RunDirectory& run) {
  const auto images = prepared_images(run);
  if (!images) return source_size(config, run);
  const std::filesystem::path train_rows = seen_rows(config, run, "train"), test_rows = seen_rows(config, run, "test");
  if (!encodes_images(config) || !is_published(train_rows) || !is_published(test_rows))
    return latents_of(*images, config, run);
  const RowTable train(train_rows, dataset_format), test(test_rows, dataset_format);
  return {train.rows(), test.rows(), dataset_shape(train), images->train_rows};
}

}  // namespace couplet
