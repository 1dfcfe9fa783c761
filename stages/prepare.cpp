#include "stages/prepare.h"

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "pipeline/config/options.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "stages/data/class_gaps.h"
#include "stages/data/run_source.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/row_table.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>
#include <span>

namespace couplet {
namespace {

constexpr std::int64_t bytes_at_once = std::int64_t{16} << 20;  ///< of images in memory

/// A split of the source, and the table that it becomes.
struct SplitTask {
  SourceImages& images;
  std::string name;
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  std::filesystem::path directory;
  ShardPlan plan;
  std::vector<Column> columns;
  nlohmann::json provenance;
  std::vector<std::int64_t> source_rows;  ///< the image of each row; empty: rows stand in the source's order

  std::int64_t image_of(std::int64_t row) const {
    return source_rows.empty() ? row : source_rows[static_cast<std::size_t>(row)];
  }
  ShardHeader header(std::int64_t shard, std::int64_t block_rows) const {
    return {dataset_format, newest_shard_version, plan.first_row(shard), plan.rows_of(shard), block_rows, provenance};
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

/// The order is a property of the data set, not of a run: runs of all seeds see the same first rows.
std::vector<std::int64_t> drawn_order(const SourceImages& images, std::int64_t rows, bool held_out) {
  std::vector<std::int64_t> order = permutation(images.shape().images, 0, Purpose::stored_order, held_out ? 1 : 0);
  order.resize(static_cast<std::size_t>(rows));
  return order;
}

const char* meaning_of(const Codec& codec, std::int64_t channels) {
  if (codec.stored_type() != ElementType::uint8) return "values";
  return channels == 1 ? "grey values 0-255" : "red, green and blue values 0-255";
}

SplitTask split_task(SourceImages& images, const std::string& name, std::int64_t rows, std::int64_t classes,
                     const PrepareConfig& config, const std::filesystem::path& directory, Communicator& communicator) {
  const ImageSetShape& shape = images.shape();
  const auto codec = find_codec(config.codec).make(nlohmann::json::object());
  SplitTask split{.images = images,
                  .name = name,
                  .rows = rows,
                  .classes = classes,
                  .directory = directory,
                  .plan = {rows, config.shard_rows},
                  .columns = {{"image",
                               codec->stored_type(),
                               {shape.channels, shape.height, shape.width},
                               meaning_of(*codec, shape.channels)},
                              {"label", ElementType::int32, {}, "class, from 0"}},
                  .provenance = {{"dataset", dataset_name(config)},
                                 {"split", name},
                                 {"classes", classes},
                                 {"codec", codec->name()},
                                 {"content", content_hash(images, communicator)}},
                  .source_rows = {}};
  if (const LowResolution low = low_resolution(config); low.is_given())
    split.provenance["low_resolution"] = {{"factor", low.factor}, {"degradation", low.degradation}};
  if (config.shuffle) {
    split.source_rows = drawn_order(images, rows, name == "test");
    split.columns.push_back({"source_row", ElementType::int64, {}, "row of the source's split, from 0"});
  }
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
  for (std::int64_t row = 0; row < split.rows; ++row)
    ++counts[static_cast<std::size_t>(stored_label(split, split.image_of(row)))];
  return counts;
}

/// Images of rows, [count, C, H, W]. The source is read forwards, neighbours at once: packed files cannot be
/// entered anywhere.
at::Tensor read_images(const SplitTask& split, std::int64_t first, std::int64_t count) {
  if (split.source_rows.empty()) return split.images.read(first, count);
  std::vector<std::int64_t> ascending(static_cast<std::size_t>(count));
  std::iota(ascending.begin(), ascending.end(), first);
  std::ranges::sort(ascending, {}, [&](std::int64_t row) { return split.image_of(row); });
  std::vector<at::Tensor> parts;
  std::vector<std::int64_t> place(ascending.size());  // of each row among the ascending ones
  for (std::size_t i = 0, end = 0; i < ascending.size(); i = end) {
    const std::int64_t image = split.image_of(ascending[i]);
    while (end < ascending.size() && split.image_of(ascending[end]) == image + static_cast<std::int64_t>(end - i)) {
      place[static_cast<std::size_t>(ascending[end] - first)] = static_cast<std::int64_t>(end);
      ++end;
    }
    parts.push_back(split.images.read(image, static_cast<std::int64_t>(end - i)));
  }
  return at::cat(parts).index_select(0, at::tensor(place));
}

void write_shard(const SplitTask& split, const ShardHeader& header, const std::filesystem::path& path) {
  Pending pending(path);
  RowShardWriter writer(pending.path(), header, split.columns);
  const auto image_bytes = static_cast<std::int64_t>(split.columns.front().row_bytes());
  const std::int64_t at_once = std::max<std::int64_t>(1, bytes_at_once / std::max<std::int64_t>(image_bytes, 1));
  for (std::int64_t done = 0; done < header.rows; done += at_once) {
    const std::int64_t count = std::min(at_once, header.rows - done);
    const at::Tensor images = read_images(split, header.first_row + done, count);
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

void publish_split(const SplitTask& split, std::int64_t block_rows, Communicator& communicator) {
  fs::create_directories(split.directory);
  if (communicator.is_root()) remove_leftovers(split.directory);
  communicator.barrier();
  for (std::int64_t shard = communicator.rank(); shard < split.plan.shards(); shard += communicator.size()) {
    note_progress(fmt::format("{}, shard {} of {}", split.name, shard, split.plan.shards()));
    const ShardHeader header = split.header(shard, block_rows);
    std::string why;
    if (shard_is_complete(split.directory, split.plan, shard, header, split.columns, why)) continue;
    write_shard(split, header, split.directory / shard_name(shard, split.plan.shards()));
  }
  communicator.barrier();
  if (!communicator.is_root()) return;
  const WorkingAlone alone("hashing the data set");
  publish_manifest(split.directory, split.plan, dataset_format, {{"class_counts", label_counts(split)}});
  say("{}: {} images of {}, {} classes, {} shards in {}", split.name, split.rows, split.images.shape().image_text(),
      split.classes, split.plan.shards(), split.directory.string());
}

void warn_of_class_gaps(const SplitTask& train, const SplitTask& test) {
  const std::vector<std::int64_t> trained = label_counts(train), held_out = label_counts(test);
  if (const std::string gaps = class_gaps(trained, held_out); !gaps.empty())
    warn_line(train.images.name() + ": " + gaps);
}

}  // namespace

void publish_dataset(const ImageSource& source, const PrepareConfig& config, const RunDirectory& run,
                     Communicator& communicator) {
  require_images(source, config);
  const std::int64_t train_rows = used_rows(*source.train, config.train_rows, "prepare.train-rows");
  const std::int64_t test_rows = used_rows(*source.test, config.test_rows, "prepare.test-rows");
  const SplitTask train =
      split_task(*source.train, "train", train_rows, source.classes, config, run.train_images(), communicator);
  const SplitTask test =
      split_task(*source.test, "test", test_rows, source.classes, config, run.test_images(), communicator);
  if (communicator.is_root()) warn_of_class_gaps(train, test);
  for (const SplitTask* split : {&train, &test}) publish_split(*split, config.block_rows, communicator);
}

void prepare(StageContext& context) {
  publish_dataset(open_source(context.config.prepare), context.config.prepare, context.run, context.communicator);
}

}  // namespace couplet
