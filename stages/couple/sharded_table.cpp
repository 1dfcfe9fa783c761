#include "stages/couple/sharded_table.h"

#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "stages/data/seen_rows.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace couplet {
namespace {

/// How the rows of a table follow from its images: all of the training images, one each of the held-out ones.
CouplingRows numbering(const CoupleConfig& config, std::int64_t images, bool training) {
  return training ? CouplingRows{images, config.flips, config.replicates} : CouplingRows{images, false, 1};
}

/// Both splits of a table, over data sets that are held open here.
struct OpenTable {
  const ShardedTable& kind;
  CoupleConfig config;
  RowTable train_images, test_images;
  DatasetShape shape;
  std::vector<TableSplit> splits;  ///< training, held out

  OpenTable(const StageContext& context, const ShardedTable& made, const nlohmann::json& made_from)
      : kind(made),
        config(couple_config(context.config, context.node.table)),
        train_images(seen_rows(context.config, context.run, "train"), dataset_format),
        test_images(seen_rows(context.config, context.run, "test"), dataset_format),
        shape(dataset_shape(train_images)) {
    add(context, train_images, numbering(config, train_images.rows(), true), "train", made_from);
    add(context, test_images, numbering(config, test_images.rows(), false), "test", made_from);
  }
  OpenTable(const OpenTable&) = delete;  // the splits refer to the data sets

  std::int64_t shards() const { return splits[0].plan.shards() + splits[1].plan.shards(); }

private:
  void add(const StageContext& context, const RowTable& images, const CouplingRows& rows, const std::string& split,
           const nlohmann::json& made_from) {
    nlohmann::json provenance{{"dataset", images.content_hash()},     {"split", split},
                              {"seed", context.config.pipeline.seed}, {"flips", rows.flips},
                              {"replicates", rows.replicates},        {"slice_rows", config.slice_rows},
                              {"precision", config.precision}};
    provenance.update(made_from);
    splits.push_back({images, rows, context.run.table(context.node.table, split), split, provenance, config.block_rows,
                      ShardPlan{rows.rows(), config.shard_rows}, kind.columns(shape, config), shape.codec});
  }
};

/// A shard to make.
struct ShardTask {
  const TableSplit* table = nullptr;
  std::int64_t shard = 0;    ///< in its table
  std::int64_t counted = 0;  ///< counted through both tables
};

/// The shard that is counted so.
ShardTask task_of(const OpenTable& all, std::int64_t counted) {
  const std::int64_t train = all.splits[0].plan.shards();
  return counted < train ? ShardTask{&all.splits[0], counted, counted}
                         : ShardTask{&all.splits[1], counted - train, counted};
}

/// Opens every shard of the range that is there.
std::vector<std::int64_t> missing_shards(const OpenTable& all, const ShardRange& range) {
  std::vector<std::int64_t> missing;
  for (std::int64_t counted = range.first; counted <= range.last; ++counted) {
    const ShardTask task = task_of(all, counted);
    const TableSplit& table = *task.table;
    std::string why;
    if (!shard_is_complete(table.directory, table.plan, task.shard, table.header(task.shard), table.columns, why))
      missing.push_back(counted);
  }
  return missing;
}

/// Rank 0 looks for all: another job may publish shards of these between two ranks' looks.
std::vector<ShardTask> missing_for_all(Communicator& communicator, const OpenTable& all, const ShardRange& range) {
  nlohmann::json found = nlohmann::json::array();
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    const WorkingAlone alone("looking which shards are missing");
    found = missing_shards(all, range);
  });
  std::vector<ShardTask> missing;
  for (const std::int64_t counted : nlohmann::json::parse(communicator.broadcast_text(found.dump(), 0)))
    missing.push_back(task_of(all, counted));
  return missing;
}

/// Says what is to be made and refuses it where the disk is too small for it.
void announce(const std::vector<ShardTask>& missing, const ShardRange& range, const std::filesystem::path& directory) {
  std::int64_t rows = 0;
  double bytes = 0;
  for (const ShardTask& task : missing) {
    const std::int64_t count = task.table->plan.rows_of(task.shard);
    rows += count;
    for (const Column& column : task.table->columns)
      bytes += static_cast<double>(column.stored_bytes()) * static_cast<double>(count) * shard_overhead;
  }
  const std::int64_t all = range.last - range.first + 1;
  say("{} of {} shards are to be made in {}: {} rows, {:.1f} MB", missing.size(), all, directory.string(), rows,
      bytes / 1e6);
  if (!missing.empty())
    require_free_space(directory, static_cast<std::uint64_t>(bytes), "what is missing of the coupling table");
}

/// Makes the missing shards of a range, each rank every size-th of them.
void make_shards(StageContext& context, const OpenTable& all, const ShardRange& range) {
  Communicator& communicator = context.communicator;
  const std::vector<ShardTask> missing = missing_for_all(communicator, all, range);
  if (communicator.is_root()) announce(missing, range, context.directory());
  if (missing.empty()) return;
  const std::unique_ptr<ShardMaker> maker = all.kind.open(context, all.shape);
  Progress progress(0, static_cast<std::int64_t>(missing.size()));
  const auto size = static_cast<std::size_t>(communicator.size());
  for (std::size_t round = 0; round < missing.size(); round += size) {
    const std::size_t mine = round + static_cast<std::size_t>(communicator.rank());
    if (mine < missing.size() && !stop_requested()) maker->make(*missing[mine].table, missing[mine].shard);
    if (agree_to_stop(communicator)) {
      maker->wait();
      throw Interrupted(
          fmt::format("{}: stopped after whole shards; the same command makes the rest", context.node.name));
    }
    const auto done = static_cast<std::int64_t>(std::min(round + size, missing.size()));
    note_rate(progress.rate(done));
    if (progress.due(done)) {
      say("shard {}/{}, {:.0f} rows/s, {} left", done, missing.size(),
          progress.rate(done) * static_cast<double>(all.config.shard_rows), progress.remaining(done));
    }
  }
  maker->wait();
}

/// The figures over a whole table, from its shards' sums. σ_f² is the mean of f² over all rows and values (method of
/// NFM: one scalar).
nlohmann::json table_summary(const TableSplit& table) {
  std::map<std::string, double> sums;
  double round_trip_max = 0;
  for (std::int64_t shard = 0; shard < table.plan.shards(); ++shard) {
    const RowShard file(table.directory / shard_name(shard, table.plan.shards()), coupling_format);
    for (const auto& [name, value] : file.summary().items())
      if (value.is_number()) sums[name] += value.get<double>();
    round_trip_max = std::max(round_trip_max, file.summary().value("round_trip_max", 0.0));
  }
  const auto count = [&sums](const char* name) { return static_cast<std::int64_t>(sums[name]); };
  nlohmann::json summary{{"sigma_f", std::sqrt(sums["sum_squares"] / sums["values"])},
                         {"nonfinite_rows", count("nonfinite_rows")}};
  if (sums.contains("nll_sum"))
    summary["nll_mean"] = sums["nll_sum"] / static_cast<double>(table.plan.rows - count("nonfinite_rows"));
  if (sums.contains("evaluations")) summary["evaluations"] = sums["evaluations"] / static_cast<double>(table.plan.rows);
  if (!sums.contains("round_trip_rows")) return summary;
  summary["round_trip_rows"] = count("round_trip_rows");
  if (count("round_trip_rows") > 0) {
    summary["round_trip_mean"] = sums["round_trip_sum"] / sums["round_trip_rows"];
    summary["round_trip_max"] = round_trip_max;
  }
  return summary;
}

void close_split(const TableSplit& table) {
  const WorkingAlone alone("closing " + table.directory.string());
  const nlohmann::json summary = table_summary(table);
  publish_manifest(table.directory, table.plan, coupling_format, summary);
  say("{}: {} rows, sigma_f {:.4f}{}, {} rows not finite", table.split, table.plan.rows,
      summary["sigma_f"].get<double>(),
      summary.contains("nll_mean") ? fmt::format(", NLL {:.4f} nats a value", summary["nll_mean"].get<double>()) : "",
      summary["nonfinite_rows"].get<std::int64_t>());
  if (summary.contains("round_trip_mean"))
    say("{}: round trip of {} rows: mean {:.4g}, largest {:.4g}", table.split,
        summary["round_trip_rows"].get<std::int64_t>(), summary["round_trip_mean"].get<double>(),
        summary["round_trip_max"].get<double>());
}

/// On one rank: the tables' directories, without what killed writers left there.
void clear_directories(const StageContext& context, Ownership ownership) {
  for (const char* split : {"train", "test"}) {
    const auto directory = context.run.table(context.node.table, split);
    std::filesystem::create_directories(directory);
    remove_leftovers(directory, ownership);
  }
}

void prepare_directories(StageContext& context, Ownership ownership) {
  if (context.communicator.is_root()) clear_directories(context, ownership);
  context.communicator.barrier();
}

/// The table, on every rank. Collective.
OpenTable open_table(const StageContext& context, const ShardedTable& kind) {
  nlohmann::json made_from = kind.made_from(context, context.communicator);
  return {context, kind, made_from};
}

}  // namespace

void make_sharded_table(StageContext& context, const ShardedTable& kind) {
  prepare_directories(context, Ownership::sole);
  const OpenTable all = open_table(context, kind);
  make_shards(context, all, {0, all.shards() - 1});
  context.communicator.barrier();
  if (context.communicator.is_root())
    for (const TableSplit& table : all.splits) close_split(table);
}

void make_shard_range(StageContext& context, const ShardedTable& kind, const ShardRange& range) {
  prepare_directories(context, Ownership::shared);
  const OpenTable all = open_table(context, kind);
  if (range.last >= all.shards())
    refuse("--couple.shards {}-{}: there are shards 0 to {}: {} of {} rows, and behind them {} of the held-out images",
           range.first, range.last, all.shards() - 1, all.splits[0].plan.shards(), all.config.shard_rows,
           all.splits[1].plan.shards());
  make_shards(context, all, range);
  context.communicator.barrier();
}

void make_shard_part(StageContext& context, const ShardedTable& kind, const ShardPart& part) {
  prepare_directories(context, Ownership::shared);
  const OpenTable all = open_table(context, kind);
  const auto first_of = [&](std::int64_t index) { return index * all.shards() / part.parts; };
  make_shards(context, all, {first_of(part.part), first_of(part.part + 1) - 1});
  context.communicator.barrier();
}

std::vector<std::int64_t> absent_shards(const StageContext& context) {
  const CoupleConfig config = couple_config(context.config, context.node.table);
  std::vector<std::int64_t> absent;
  std::int64_t counted = 0;
  for (const bool training : {true, false}) {
    const auto images = seen_rows(context.config, context.run, training ? "train" : "test");
    const std::int64_t samples = manifest_plan(load_manifest(images, dataset_format)).rows;
    const ShardPlan plan{numbering(config, samples, training).rows(), config.shard_rows};
    std::set<std::string> names;
    const auto directory = context.run.table(context.node.table, training ? "train" : "test");
    std::error_code none_yet;
    for (const auto& entry : std::filesystem::directory_iterator(directory, none_yet))
      names.insert(entry.path().filename().string());
    for (std::int64_t shard = 0; shard < plan.shards(); ++shard, ++counted)
      if (!names.contains(shard_name(shard, plan.shards()))) absent.push_back(counted);
  }
  return absent;
}

std::vector<std::int64_t> close_sharded_table(StageContext& context, const ShardedTable& kind) {
  const WorkingAlone alone("looking which shards are missing");
  clear_directories(context, Ownership::shared);
  const auto single = make_single_communicator();
  const OpenTable all(context, kind, kind.made_from(context, *single));
  if (auto missing = missing_shards(all, {0, all.shards() - 1}); !missing.empty()) return missing;
  for (const TableSplit& table : all.splits) close_split(table);
  return {};
}

}  // namespace couplet
