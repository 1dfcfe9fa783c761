#include "stages/prepare.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/formats/idx.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/row_table.h"

#include <algorithm>

namespace couplet {
namespace {

constexpr char dataset_format[] = "couplet-dataset";

/// One split of the data set, in memory.
struct Split {
  IdxArray images, labels;
  std::int64_t rows = 0;
  std::vector<std::int64_t> class_counts;
};

Split read_split(const fs::path& source, const std::string& images_name, const std::string& labels_name,
                 std::int64_t limit, const std::string& limit_key) {
  const fs::path images_path = source / images_name, labels_path = source / labels_name;
  Split split{read_idx(images_path), read_idx(labels_path), 0, {}};
  if (split.images.shape.size() != 3) {
    fail("{}: {} axes; images have 3 (items, height, width)", images_path.string(), split.images.shape.size());
  }
  if (split.labels.shape.size() != 1) {
    fail("{}: {} axes; labels have 1 — were images and labels swapped?", labels_path.string(),
         split.labels.shape.size());
  }
  if (split.images.shape[0] != split.labels.shape[0]) {
    fail("{} holds {} images but {} holds {} labels: they are not of one data set", images_path.string(),
         split.images.shape[0], labels_path.string(), split.labels.shape[0]);
  }
  split.rows = split.images.shape[0];
  if (limit > split.rows) refuse("{} = {}, but {} holds {} images", limit_key, limit, images_path.string(), split.rows);
  if (limit > 0) split.rows = limit;
  const auto end = split.labels.values.begin() + split.rows;
  split.class_counts.resize(split.rows == 0 ? 0 : std::size_t{*std::max_element(split.labels.values.begin(), end)} + 1);
  std::for_each(split.labels.values.begin(), end, [&](std::uint8_t label) { ++split.class_counts[label]; });
  return split;
}

void write_split(StageContext& context, const Split& split, const std::string& name, std::int64_t classes,
                 const fs::path& directory) {
  const PrepareConfig& config = context.config.prepare;
  const std::int64_t height = split.images.shape[1], width = split.images.shape[2];
  const std::vector<Column> columns = {{"image", ElementType::uint8, {1, height, width}, "grey values 0-255"},
                                       {"label", ElementType::int32, {}, "class, from 0"}};
  const std::span<const std::uint8_t> pixels(split.images.values.data(),
                                             static_cast<std::size_t>(split.rows * height * width));
  const std::span<const std::uint8_t> label_bytes(split.labels.values.data(), static_cast<std::size_t>(split.rows));
  const nlohmann::json provenance = {
      {"dataset", config.name},
      {"split", name},
      {"content", fmt::format("{:016x}", hash64(std::as_bytes(pixels), hash64(std::as_bytes(label_bytes))))}};
  const ShardPlan plan{split.rows, config.shard_rows};
  fs::create_directories(directory);
  if (context.communicator.is_root()) remove_leftovers(directory);
  context.communicator.barrier();
  for (std::int64_t index = context.communicator.rank(); index < plan.shards(); index += context.communicator.size()) {
    note_progress(fmt::format("{}, shard {} of {}", name, index, plan.shards()));
    const std::int64_t first = plan.first_row(index), rows = plan.rows_of(index);
    const ShardHeader header{dataset_format, 1, first, rows, config.block_rows, provenance};
    std::string why;
    if (shard_is_complete(directory, plan, index, header, columns, why)) continue;
    Pending pending(directory / shard_name(index, plan.shards()));
    RowShardWriter writer(pending.path(), header, columns);
    writer.write(0, 0,
                 std::as_bytes(pixels.subspan(static_cast<std::size_t>(first * height * width),
                                              static_cast<std::size_t>(rows * height * width))));
    const std::vector<std::int32_t> labels(label_bytes.begin() + first, label_bytes.begin() + first + rows);
    writer.write(1, 0, std::as_bytes(std::span(labels)));
    writer.finish({});
    pending.commit();
  }
  context.communicator.barrier();
  if (!context.communicator.is_root()) return;
  const Busy busy("hashing the data set");
  std::vector<std::int64_t> counts = split.class_counts;
  counts.resize(static_cast<std::size_t>(classes));
  publish_manifest(directory, plan, dataset_format, {{"class_counts", counts}});
  say("{}: {} images {} x {}, {} classes, {} shards in {}", name, split.rows, height, width, classes, plan.shards(),
      directory.string());
}

}  // namespace

void prepare(StageContext& context) {
  const PrepareConfig& config = context.config.prepare;
  const fs::path source = config.source;
  const Split train =
      read_split(source, config.train_images, config.train_labels, config.train_rows, "prepare.train-rows");
  const Split test = read_split(source, config.test_images, config.test_labels, config.test_rows, "prepare.test-rows");
  if (train.images.shape[1] != test.images.shape[1] || train.images.shape[2] != test.images.shape[2]) {
    fail("training images are {} x {} ({}) but test images {} x {} ({})", train.images.shape[1], train.images.shape[2],
         (source / config.train_images).string(), test.images.shape[1], test.images.shape[2],
         (source / config.test_images).string());
  }
  const auto classes = static_cast<std::int64_t>(std::max(train.class_counts.size(), test.class_counts.size()));
  write_split(context, train, "train", classes, context.run.train_images());
  write_split(context, test, "test", classes, context.run.test_images());
}

}  // namespace couplet
