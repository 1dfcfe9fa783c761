#include "stages/latents.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "method/data/latent_script.h"
#include "pipeline/config/options.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "stages/data/latent_program.h"
#include "stages/data/seen_rows.h"
#include "stages/data/split_table.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/memory.h"
#include "storage/tables/row_shard_writer.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t images_at_once = 64;

/// A split to encode, and the table that it becomes.
struct LatentSplit {
  const RowTable& images;
  std::int64_t views = 1;  ///< rows an image: 2 with its mirror image
  SplitTable table;
};

/// What float16 leaves of latents, as sums over the values that this rank has stored.
struct Rounding {
  double squares = 0, error_squares = 0;

  void add(const at::Tensor& exact, const at::Tensor& stored) {
    squares += exact.to(at::kDouble).square().sum().item<double>();
    error_squares += (stored.to(at::kDouble) - exact).square().sum().item<double>();
  }
};

/// Rows of a table of latents.
struct LatentRows {
  at::Tensor image;   ///< float16 [n, 2 C, h, w]
  at::Tensor label;   ///< int32 [n]
  at::Tensor source;  ///< int64 [n], the prepared row
  at::Tensor flip;    ///< uint8 [n]
};

void require_storable(const at::Tensor& latents, const LatentSplit& split, const at::Tensor& source) {
  if (const auto unfit = unfit_latent(latents))
    fail("{}: the latent of image {} {}; is it the program that latents.range and docs/latents.md ask for?",
         split.images.path().string(), source[unfit->row].item<std::int64_t>(), unfit->what);
}

LatentRows encode_rows(const LatentScript& script, const LatentSplit& split, std::int64_t first, std::int64_t count,
                       Rounding& rounding) {
  const at::Tensor row = at::arange(first, first + count, at::kLong);
  LatentRows rows;
  rows.source = at::floor_divide(row, split.views);
  rows.flip = row.remainder(split.views).to(at::kByte);
  const std::int64_t low = first / split.views, span = (first + count - 1) / split.views - low + 1;
  const at::Tensor image = read_rows(split.images, "image", low, span).index_select(0, rows.source - low);
  const at::Tensor mirrored = rows.flip.to(at::kBool).view({-1, 1, 1, 1});
  const at::Tensor exact = script.encode(at::where(mirrored, image.flip({3}), image)).cpu();
  rows.image = exact.to(at::kHalf);
  rows.label = read_rows(split.images, "label", low, span).index_select(0, rows.source - low);
  require_storable(rows.image, split, rows.source);
  rounding.add(exact, rows.image);
  return rows;
}

void write_shard(const LatentScript& script, const LatentSplit& split, const ShardHeader& header,
                 const std::filesystem::path& path, Rounding& rounding) {
  Pending pending(path);
  RowShardWriter writer(pending.path(), header, split.table.columns);
  for (std::int64_t done = 0; done < header.rows; done += images_at_once) {
    if (stop_requested()) return;
    const std::int64_t count = std::min(images_at_once, header.rows - done);
    const LatentRows rows = encode_rows(script, split, header.first_row + done, count, rounding);
    const at::Tensor columns[] = {rows.image, rows.label, rows.source, rows.flip};
    for (std::size_t column = 0; column < std::size(columns); ++column)
      writer.write(column, done, bytes_of(columns[column].contiguous()));
  }
  writer.finish({});
  pending.commit();
}

/// Class counts and names of the images, for as many rows an image.
nlohmann::json summary_of(const LatentSplit& split) {
  nlohmann::json summary = split.images.summary();
  for (nlohmann::json& count : summary.at("class_counts")) count = count.get<std::int64_t>() * split.views;
  return summary;
}

/// Of the shards that were made now. Collective.
void say_rounding(const LatentSplit& split, const Rounding& rounding, Communicator& communicator) {
  at::Tensor sums = at::tensor({rounding.squares, rounding.error_squares}, at::kDouble);
  communicator.all_reduce(sums);
  const double squares = sums[0].item<double>(), errors = sums[1].item<double>();
  if (squares > 0)
    say("{}: stored in float16, latents are off by {:.2g} of their root mean square", split.table.name,
        std::sqrt(errors / squares));
}

void publish_split(const LatentScript& script, const LatentSplit& split, StageContext& context) {
  Communicator& communicator = context.communicator;
  Rounding rounding;
  make_shards(split.table, context.node.name, "the latents'", communicator,
              [&](const ShardHeader& header, const std::filesystem::path& path) {
                write_shard(script, split, header, path, rounding);
              });
  say_rounding(split, rounding, communicator);
  if (!communicator.is_root()) return;
  const WorkingAlone alone("hashing the latents");
  publish_manifest(split.table.directory, split.table.plan, dataset_format, summary_of(split));
  say("{}: {} latents of {}, {} of each image, in {}", split.table.name, split.table.plan.rows,
      fmt::join(split.table.columns.front().shape, " x "), split.views, split.table.directory.string());
}

LatentSplit latent_split(const StageContext& context, const RowTable& images, const LatentForm& form,
                         const std::vector<std::int64_t>& shape, bool is_training) {
  const PrepareConfig& prepare = context.config.prepare;
  const std::string name = is_training ? "train" : "test";
  const std::int64_t views = is_training && context.config.latents.flips ? 2 : 1;
  nlohmann::json provenance = images.provenance();
  provenance.update({{"codec", "latent"}, {"latent", to_json(form)}, {"images", images.content_hash()}});
  return {.images = images,
          .views = views,
          .table = {.name = name,
                    .directory = context.run.latents(name),
                    .plan = {images.rows() * views, prepare.shard_rows},
                    .columns = {{"image",
                                 ElementType::float16,
                                 {2 * shape[0], shape[1], shape[2]},
                                 "means, then standard deviations, of the latents, as the program gives them"},
                                {"label", ElementType::int32, {}, "class, from 0"},
                                {"prepared_row", ElementType::int64, {}, "row of the prepared images"},
                                {"flip", ElementType::uint8, {}, "1: of the image mirrored left to right"}},
                    .provenance = std::move(provenance),
                    .block_rows = prepare.block_rows}};
}

}  // namespace

void latents(StageContext& context) {
  keep_freed_memory();  // pictures come and go
  const RowTable train(context.run.train_images(), dataset_format), test(context.run.test_images(), dataset_format);
  const std::vector<std::int64_t> pixels = dataset_shape(train).pixel_shape();
  const std::filesystem::path program = keep_latent_script(context);
  const LatentScript script(program, context.config.latents.range, context.device);
  const std::vector<std::int64_t> shape = script.latent_shape(pixels);
  require_channels(context.config.latents, shape[0]);
  const auto encoded = [&](const std::vector<std::int64_t>& rows) {
    return script.encode(read_numbered_rows(train, "image", rows));
  };
  const LatentForm form =
      latent_form(context, program, pixels, {train.path().string(), train.content_hash(), train.rows(), encoded});
  publish_split(script, latent_split(context, train, form, shape, true), context);
  publish_split(script, latent_split(context, test, form, shape, false), context);
}

}  // namespace couplet
