#include "stages/latents.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "method/data/latent_script.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "stages/data/seen_rows.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/json_text.h"
#include "storage/memory.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/shard_space.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t images_at_once = 64;
constexpr std::int64_t measured_images = 256;  ///< by which the scale is measured

/// A split to encode, and the table that it becomes.
struct LatentSplit {
  const RowTable& images;
  std::string name;
  std::int64_t views = 1;  ///< rows an image: 2 with its mirror image
  std::filesystem::path directory;
  ShardPlan plan;
  std::vector<Column> columns;
  nlohmann::json provenance;
  std::int64_t block_rows = 0;

  ShardHeader header(std::int64_t shard) const {
    return {dataset_format, newest_shard_version, plan.first_row(shard), plan.rows_of(shard), block_rows, provenance};
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
  const at::Tensor rows = latents.flatten(1);
  const at::Tensor deviations = latents.narrow(1, latents.size(1) / 2, latents.size(1) / 2).flatten(1);
  const at::Tensor bad = (rows.isfinite().all(1) & deviations.ge(0).all(1)).logical_not().nonzero();
  if (bad.numel() == 0) return;
  fail(
      "{}: the latents of image {} are no finite means and deviations from 0 on that float16 can hold (largest {:.4g}, "
      "smallest deviation {:.4g}); is it the program that latents.range and docs/latents.md ask for?",
      split.images.path().string(), source[bad[0][0]].item<std::int64_t>(), rows[bad[0][0]].abs().max().item<double>(),
      deviations[bad[0][0]].min().item<double>());
}

LatentRows encode_rows(const LatentScript& script, const LatentSplit& split, std::int64_t first, std::int64_t count) {
  const at::Tensor row = at::arange(first, first + count, at::kLong);
  LatentRows rows;
  rows.source = at::floor_divide(row, split.views);
  rows.flip = row.remainder(split.views).to(at::kByte);
  const std::int64_t low = first / split.views, span = (first + count - 1) / split.views - low + 1;
  const at::Tensor image = read_rows(split.images, "image", low, span).index_select(0, rows.source - low);
  const at::Tensor mirrored = rows.flip.to(at::kBool).view({-1, 1, 1, 1});
  rows.image = script.encode(at::where(mirrored, image.flip({3}), image)).cpu().to(at::kHalf);
  rows.label = read_rows(split.images, "label", low, span).index_select(0, rows.source - low);
  require_storable(rows.image.to(at::kFloat), split, rows.source);
  return rows;
}

void write_shard(const LatentScript& script, const LatentSplit& split, const ShardHeader& header,
                 const std::filesystem::path& path) {
  Pending pending(path);
  RowShardWriter writer(pending.path(), header, split.columns);
  for (std::int64_t done = 0; done < header.rows; done += images_at_once) {
    if (stop_requested()) return;
    const std::int64_t count = std::min(images_at_once, header.rows - done);
    const LatentRows rows = encode_rows(script, split, header.first_row + done, count);
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

void publish_split(const LatentScript& script, const LatentSplit& split, StageContext& context) {
  Communicator& communicator = context.communicator;
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    std::filesystem::create_directories(split.directory);
    remove_leftovers(split.directory);
    require_space_for_shards(split.directory, split.plan, split.columns, "the latents' split " + split.name);
  });
  const std::int64_t shards = split.plan.shards(), ranks = communicator.size();
  for (std::int64_t round = 0; round < shards; round += ranks) {
    const std::int64_t shard = round + communicator.rank();
    std::string why;
    if (shard < shards && !stop_requested()) {
      note_progress(fmt::format("{}, shard {} of {}", split.name, shard, shards));
      const ShardHeader header = split.header(shard);
      if (!shard_is_complete(split.directory, split.plan, shard, header, split.columns, why))
        write_shard(script, split, header, split.directory / shard_name(shard, shards));
    }
    if (agree_to_stop(communicator))
      throw Interrupted(
          fmt::format("{}: stopped after whole shards; the same command makes the rest", context.node.name));
  }
  communicator.barrier();
  if (!communicator.is_root()) return;
  const WorkingAlone alone("hashing the latents");
  publish_manifest(split.directory, split.plan, dataset_format, summary_of(split));
  say("{}: {} latents of {}, {} of each image, in {}", split.name, split.plan.rows,
      fmt::join(split.columns.front().shape, " x "), split.views, split.directory.string());
}

LatentSplit latent_split(const StageContext& context, const RowTable& images, const LatentForm& form,
                         const std::vector<std::int64_t>& shape, bool is_training) {
  const PrepareConfig& prepare = context.config.prepare;
  const std::string name = is_training ? "train" : "test";
  const std::int64_t views = is_training && context.config.latents.flips ? 2 : 1;
  nlohmann::json provenance = images.provenance();
  provenance.update({{"codec", "latent"}, {"latent", to_json(form)}, {"images", images.content_hash()}});
  return {.images = images,
          .name = name,
          .views = views,
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
          .block_rows = prepare.block_rows};
}

/// 1 / the deviation of the means of some training images' latents, by one rank: the same bits for any number of
/// threads.
double measure_scale(const LatentScript& script, const RowTable& images, const std::vector<double>& shift) {
  const at::Tensor off = at::tensor(shift, at::kDouble).view({-1, 1, 1});
  const std::int64_t rows = std::min(measured_images, images.rows());
  double sum = 0, squares = 0, values = 0;
  for (std::int64_t first = 0; first < rows; first += images_at_once) {
    std::vector<std::int64_t> numbers;  // at even distances, as rows may be sorted
    for (std::int64_t i = first; i < std::min(first + images_at_once, rows); ++i)
      numbers.push_back(i * images.rows() / rows);
    const at::Tensor both = script.encode(read_numbered_rows(images, "image", numbers)).cpu();
    const OneThread one_thread;
    const at::Tensor means = both.narrow(1, 0, both.size(1) / 2).to(at::kDouble) - off;
    sum += means.sum().item<double>();
    squares += means.square().sum().item<double>();
    values += static_cast<double>(means.numel());
  }
  const double variance = squares / values - sum / values * sum / values;
  if (!(variance > 0))
    fail("{}: the latents of {} images have the variance {}: their program tells no images apart",
         images.path().string(), rows, variance);
  return 1 / std::sqrt(variance);
}

/// The scale that was measured of these latents before, and kept, or is measured now: whatever device or machine goes
/// on with them, shards of one table have one scale. On one rank.
double measured_scale(const StageContext& context, const LatentScript& script, const RowTable& images,
                      const LatentForm& form) {
  const std::filesystem::path kept = context.directory() / "scale.json";
  const nlohmann::json of{{"script", form.script_hash},
                          {"range", form.pixel_range},
                          {"shift", form.shift},
                          {"images", images.content_hash()}};
  if (is_there(kept)) {
    const nlohmann::json found = parse_json(read_file(kept), kept.string());
    if (found.is_object() && found.value("of", nlohmann::json()) == of && found.contains("scale"))
      return found["scale"].get<double>();
  }
  const double scale = measure_scale(script, images, form.shift);
  publish_file(kept, nlohmann::json{{"of", of}, {"scale", scale}}.dump(2) + "\n");
  return scale;
}

/// The program beside the folders of both splits, from where pixels are made of latents ever after. On one rank.
void keep_script(const StageContext& context) {
  const std::filesystem::path kept = context.directory() / latent_script_name;
  const std::filesystem::path from = latent_script(context.config, context.run);
  if (from == kept) {
    const auto expected = context.node.keys.find("latents.file");
    if (expected != context.node.keys.end() && hash_file(kept) != expected->second)
      fail("latents.file = {}: is gone, and {} is no copy of it: put it back", context.config.latents.file,
           kept.string());
    return;
  }
  if (is_there(kept) && hash_file(kept) == hash_file(from)) return;
  Pending pending(kept);
  std::error_code error;
  if (!std::filesystem::copy_file(from, pending.path(), error))
    fail("{}: cannot be copied to {}: {}", from.string(), kept.string(), error.message());
  pending.commit();
}

}  // namespace

void latents(StageContext& context) {
  keep_freed_memory();  // pictures come and go
  Communicator& communicator = context.communicator;
  const RowTable train(context.run.train_images(), dataset_format), test(context.run.test_images(), dataset_format);
  const std::vector<std::int64_t> pixels = dataset_shape(train).pixel_shape();
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    const WorkingAlone alone("copying the program of the latents");
    keep_script(context);
  });
  const std::filesystem::path program = context.directory() / latent_script_name;
  const LatentScript script(program, context.config.latents.range, context.device);
  const std::vector<std::int64_t> shape = script.latent_shape(pixels);
  require_channels(context.config.latents, shape[0]);
  LatentForm form = latent_form(context.config, pixels);
  form.script_hash = hash_for_all(communicator, program);
  if (form.scale == std::vector<double>{0}) {
    nlohmann::json scale;
    run_on_all(communicator, [&] {
      if (!communicator.is_root()) return;
      const WorkingAlone alone("measuring the scale of the latents");
      scale = measured_scale(context, script, train, form);
    });
    form.scale = {nlohmann::json::parse(communicator.broadcast_text(scale.dump(), 0)).get<double>()};
    say("latents.scale: measured as {:.6g}", form.scale.front());
  }
  publish_split(script, latent_split(context, train, form, shape, true), context);
  publish_split(script, latent_split(context, test, form, shape, false), context);
}

}  // namespace couplet
