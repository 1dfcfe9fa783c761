#include "stages/prepare.h"

#include "method/data/dataset.h"
#include "pipeline/config/options.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "stages/data/class_gaps.h"
#include "stages/data/latent_program.h"
#include "stages/data/run_source.h"
#include "stages/data/seen_rows.h"
#include "stages/data/split_table.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/memory.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/row_table.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <span>

namespace couplet {
namespace {

constexpr char file_list_name[] = "files.tsv";
constexpr std::int64_t bytes_at_once = std::int64_t{4} << 20;  ///< of images in memory

/// A split of the source, and the table that it becomes.
struct SplitTask {
  SourceImages& images;
  SplitTable table;
  std::int64_t classes = 0;
  std::vector<std::string> class_names;   ///< empty: classes are numbers
  std::vector<std::int64_t> source_rows;  ///< the image of each row; empty: rows stand in the source's order

  std::int64_t image_of(std::int64_t row) const {
    return source_rows.empty() ? row : source_rows[static_cast<std::size_t>(row)];
  }
};

/// Rank 0 reads the source's files for it, for all ranks.
std::string content_hash(const SourceImages& images, Communicator& communicator) {
  std::string hash;
  if (communicator.is_root()) {
    const WorkingAlone alone("hashing " + images.name());
    hash = images.content_hash();
  }
  return communicator.broadcast_text(hash, 0);
}

/// The images of the first rows in the order that is drawn; empty: that of the source. The order is a property of the
/// data set, not of a run: runs of all seeds see the same first rows.
std::vector<std::int64_t> stored_order(const SourceImages& images, std::int64_t rows, bool held_out,
                                       const PrepareConfig& config) {
  if (!config.shuffle) return {};
  std::vector<std::int64_t> order = permutation(images.shape().images, 0, Purpose::stored_order, held_out ? 1 : 0);
  order.resize(static_cast<std::size_t>(rows));
  return order;
}

/// Images of rows that stand in this order, [count, C, H, W].
at::Tensor read_images(SourceImages& images, const std::vector<std::int64_t>& order, std::int64_t first,
                       std::int64_t count) {
  if (order.empty()) return images.read(first, count);
  return images.read_images({order.begin() + first, order.begin() + first + count});
}

const char* meaning_of(ElementType type, bool are_latents, std::int64_t channels) {
  if (are_latents) return "means, then standard deviations, of latents, as they came";
  if (type != ElementType::uint8) return "values";
  return channels == 1 ? "grey values 0-255" : "red, green and blue values 0-255";
}

SplitTask split_task(const ImageSource& source, bool held_out, const PrepareConfig& config, const RunDirectory& run,
                     Communicator& communicator, const std::optional<LatentForm>& latents) {
  SourceImages& images = held_out ? *source.test : *source.train;
  const std::int64_t rows = held_out ? used_rows(images, config.test_rows, "prepare.test-rows")
                                     : used_rows(images, config.train_rows, "prepare.train-rows");
  const ImageSetShape& shape = images.shape();
  SplitTask split{.images = images,
                  .table = {.name = held_out ? "test" : "train",
                            .directory = held_out ? run.test_images() : run.train_images(),
                            .plan = {rows, config.shard_rows},
                            .columns = {{"image",
                                         images.type(),
                                         {shape.channels, shape.height, shape.width},
                                         meaning_of(images.type(), latents.has_value(), shape.channels)},
                                        {"label", ElementType::int32, {}, "class, from 0"}},
                            .provenance = {{"dataset", dataset_name(config)},
                                           {"split", held_out ? "test" : "train"},
                                           {"classes", source.classes},
                                           {"codec", stored_codec(config)},
                                           {"content", content_hash(images, communicator)}},
                            .block_rows = config.block_rows},
                  .classes = source.classes,
                  .class_names = source.class_names,
                  .source_rows = stored_order(images, rows, held_out, config)};
  if (!source.provenance.is_null()) split.table.provenance["source"] = source.provenance;
  if (const LowResolution low = low_resolution(config); low.is_given())
    split.table.provenance["low_resolution"] = {{"factor", low.factor}, {"degradation", low.degradation}};
  if (latents) split.table.provenance["latent"] = to_json(*latents);
  if (!split.source_rows.empty())
    split.table.columns.push_back({"source_row", ElementType::int64, {}, "row of the source's split, from 0"});
  return split;
}

/// The class of an image as it is stored.
std::int32_t stored_label(const SplitTask& split, std::int64_t image) {
  const std::int64_t label = split.images.label(image);
  if (label < 0 || label >= std::max<std::int64_t>(split.classes, 1)) {
    fail("{} has class {}; the data set has {} classes", split.images.image_name(image), label, split.classes);
  }
  return static_cast<std::int32_t>(label);
}

/// The rows of each label.
std::vector<std::int64_t> label_counts(const SplitTask& split) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(std::max<std::int64_t>(split.classes, 1)));
  for (std::int64_t row = 0; row < split.table.plan.rows; ++row)
    ++counts[static_cast<std::size_t>(stored_label(split, split.image_of(row)))];
  return counts;
}

void write_shard(const SplitTask& split, const ShardHeader& header, const std::filesystem::path& path) {
  Pending pending(path);
  RowShardWriter writer(pending.path(), header, split.table.columns);
  const auto image_bytes = static_cast<std::int64_t>(split.table.columns.front().row_bytes());
  const std::int64_t at_once = std::max<std::int64_t>(1, bytes_at_once / std::max<std::int64_t>(image_bytes, 1));
  for (std::int64_t done = 0; done < header.rows; done += at_once) {
    const std::int64_t count = std::min(at_once, header.rows - done);
    const at::Tensor images = read_images(split.images, split.source_rows, header.first_row + done, count);
    writer.write(0, done, bytes_of(images));
  }
  std::vector<std::int32_t> labels;
  for (std::int64_t row = 0; row < header.rows; ++row)
    labels.push_back(stored_label(split, split.image_of(header.first_row + row)));
  writer.write(1, 0, std::as_bytes(std::span(labels)));
  if (!split.source_rows.empty()) {
    const auto rows = std::span(split.source_rows).subspan(static_cast<std::size_t>(header.first_row));
    writer.write(2, 0, std::as_bytes(rows.first(static_cast<std::size_t>(header.rows))));
  }
  writer.finish({});
  pending.commit();
}

/// files.tsv beside the shards: which file each row is from.
void publish_file_list(const SplitTask& split) {
  if (split.images.file_line(0).empty()) return;
  Pending pending(split.table.directory / file_list_name);
  std::ofstream list(pending.path(), std::ios::binary);
  list << "row\tfile\twidth\theight\tencoded\tconverted\n";
  for (std::int64_t row = 0; row < split.table.plan.rows; ++row)
    list << row << '\t' << split.images.file_line(split.image_of(row)) << '\n';
  list.close();
  if (!list) fail("{}: cannot be written; is the file system full?", pending.path().string());
  pending.commit();
}

void publish_split(const SplitTask& split, Communicator& communicator) {
  make_shards(split.table, "prepare", "the data set's", communicator,
              [&](const ShardHeader& header, const std::filesystem::path& path) { write_shard(split, header, path); });
  if (!communicator.is_root()) return;
  const WorkingAlone alone("hashing the data set");
  publish_file_list(split);
  nlohmann::json summary{{"class_counts", label_counts(split)}};
  if (!split.class_names.empty()) summary["class_names"] = split.class_names;
  publish_manifest(split.table.directory, split.table.plan, dataset_format, summary);
  say("{}: {} images of {}, {} classes, {} shards in {}", split.table.name, split.table.plan.rows,
      split.images.shape().image_text(), split.classes, split.table.plan.shards(), split.table.directory.string());
}

void warn_of_class_gaps(const SplitTask& train, const SplitTask& test) {
  const std::vector<std::int64_t> trained = label_counts(train), held_out = label_counts(test);
  if (const std::string gaps = class_gaps(trained, held_out); !gaps.empty())
    warn_line(train.images.name() + ": " + gaps);
}

/// The form of the latents that the source gives, whose program is kept; none of images.
std::optional<LatentForm> form_of_latents(const StageContext& context, const ImageSource& source) {
  const Config& config = context.config;
  if (!has_latents(config) || encodes_images(config)) return std::nullopt;
  const std::filesystem::path program = keep_latent_script(context);
  SourceImages& train = *source.train;
  const std::int64_t rows = used_rows(train, config.prepare.train_rows, "prepare.train-rows");
  const std::vector<std::int64_t> order = stored_order(train, rows, /*held_out=*/false, config.prepare);
  const auto read = [&](const std::vector<std::int64_t>& numbers) {
    std::vector<at::Tensor> parts;
    for (const std::int64_t row : numbers) parts.push_back(read_images(train, order, row, 1));
    return at::cat(parts);
  };
  const ImageSetShape& shape = train.shape();
  return latent_form(context, program,
                     latent_pixels(config, context.run, {shape.channels / 2, shape.height, shape.width}),
                     {train.name(), content_hash(train, context.communicator), rows, read});
}

}  // namespace

void publish_dataset(const ImageSource& source, const PrepareConfig& config, const RunDirectory& run,
                     Communicator& communicator, const std::optional<LatentForm>& latents) {
  require_images(source, config);
  if (communicator.is_root())
    for (const std::string& note : source.notes) say("{}", note);
  const SplitTask train = split_task(source, /*held_out=*/false, config, run, communicator, latents);
  const SplitTask test = split_task(source, /*held_out=*/true, config, run, communicator, latents);
  if (communicator.is_root()) warn_of_class_gaps(train, test);
  for (const SplitTask* split : {&train, &test}) publish_split(*split, communicator);
}

void prepare(StageContext& context) {
  keep_freed_memory();  // pictures come and go
  const ImageSource source = open_source(context.config.prepare, context.run, context.communicator);
  publish_dataset(source, context.config.prepare, context.run, context.communicator, form_of_latents(context, source));
}

}  // namespace couplet
