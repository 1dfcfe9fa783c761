#include "stages/couple/adoption.h"

#include "method/data/dataset.h"
#include "method/tables/coupling_table.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace couplet {
namespace {

constexpr std::int64_t labels_at_once = std::int64_t{1} << 20;

/// The table says which data set its images are of, unless it was imported, and then nobody knows.
void require_same_images(const RowTable& table, const RowTable& images) {
  const std::string dataset = table.provenance().value("dataset", "");
  if (!dataset.empty() && dataset != images.content_hash())
    refuse("{} was made of the data set {}, but {} is {}: take a table of this data set, or the data set of the table",
           table.path().string(), dataset, images.path().string(), images.content_hash());
}

void require_columns(const RowTable& table, const DatasetShape& shape) {
  const std::vector<std::int64_t> expected{shape.channels, shape.size, shape.size};
  for (const char* name : {"noise", "image"}) {
    const Column& column = table.columns().at(table.column(name));
    if (column.shape != expected)
      refuse("{}: its column {} has rows of the shape [{}], but images of the data set are [{}]", table.path().string(),
             name, fmt::join(column.shape, ", "), fmt::join(expected, ", "));
    const bool is_whole =
        column.type == ElementType::uint8 || column.type == ElementType::int32 || column.type == ElementType::int64;
    if (is_whole && shape.codec->tables_hold_seen())
      refuse("{}: its column {} holds {}, but models of this run see latents, which are floats", table.path().string(),
             name, element_name(column.type));
  }
}

void require_known_labels(const RowTable& table, const DatasetShape& shape) {
  for (std::int64_t first = 0; first < table.rows(); first += labels_at_once) {
    const std::int64_t count = std::min(labels_at_once, table.rows() - first);
    const auto wrong = read_rows(table, "label", first, count);
    const auto bad = ((wrong < 0) | (wrong >= shape.labels())).nonzero();
    if (bad.numel() == 0) continue;
    const std::int64_t row = bad[0][0].item<std::int64_t>();
    refuse("{}: row {} has the label {}, but the data set has the classes 0 to {}", table.path().string(), first + row,
           wrong[row].item<std::int64_t>(), shape.labels() - 1);
  }
}

nlohmann::json look_at_split(const std::filesystem::path& directory, const RowTable& images) {
  const RowTable table(directory, coupling_format);
  table.require_shards();
  require_same_images(table, images);
  const DatasetShape shape = dataset_shape(images);
  require_columns(table, shape);
  require_known_labels(table, shape);
  return {{"directory", directory.string()}, {"rows", table.rows()}, {"hash", table.content_hash()}};
}

void look_at_table(const StageContext& context) {
  const WorkingAlone alone("looking at the table that is adopted");
  const std::string& name = context.node.table;
  nlohmann::json found;
  for (const char* split : {"train", "test"}) {
    const auto directory = table_directory(context.config, context.run, name, split);
    if (directory.empty()) continue;
    found[split] = look_at_split(directory, RowTable(seen_rows(context.config, context.run, split), dataset_format));
    say("{}: {} rows of {}", split, found[split]["rows"].get<std::int64_t>(), directory.string());
  }
  if (!found.contains("test"))
    say("no held-out rows come with the table: a twentieth of its blocks is held out; what the teacher would be "
        "compared by is left out");
  std::filesystem::create_directories(context.directory());
  publish_file(context.directory() / "adopted.json", found.dump(2) + "\n");
}

}  // namespace

void adopt_table(StageContext& context) {
  run_on_all(context.communicator, [&] {
    if (context.communicator.is_root()) look_at_table(context);
  });
}

}  // namespace couplet
