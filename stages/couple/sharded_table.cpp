#include "stages/couple/sharded_table.h"

#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <set>
#include <utility>

namespace couplet {
namespace {

/// How the rows of a table follow from its images: all of the training images, one each of the held-out ones.
CouplingRows numbering(const CoupleConfig& config, std::int64_t images, bool training) {
  return training ? CouplingRows{images, config.flips, config.replicates} : CouplingRows{images, false, 1};
}

/// The table whose rows a split of the node's table is made of; "": the data set.
std::string base_of(const StageContext& context) {
  return find_run_table(context.config, context.node.table).base;
}

/// The splits that the node's table has.
std::vector<std::string> splits_of(const StageContext& context) {
  const std::string base = base_of(context);
  if (base.empty() || !table_directory(context.config, context.run, base, "test").empty()) return {"train", "test"};
  return {"train"};
}

/// The splits of a table, over the rows that they are made of, which are held open here.
struct OpenTable {
  const ShardedTable& kind;
  CoupleConfig config;
  std::deque<RowTable> sources;
  DatasetShape shape;
  std::vector<TableSplit> splits;  ///< training, held out

  OpenTable(const StageContext& context, const ShardedTable& made, const nlohmann::json& made_from)
      : kind(made), config(couple_config(context.config, context.node.table)) {
    const std::string base = base_of(context);
    shape = dataset_shape(RowTable(seen_rows(context.config, context.run, "train"), dataset_format));
    for (const std::string& split : splits_of(context)) {
      if (base.empty())
        add(context, sources.emplace_back(seen_rows(context.config, context.run, split), dataset_format), split,
            made_from);
      else
        add_mapped(context,
                   sources.emplace_back(table_directory(context.config, context.run, base, split), coupling_format),
                   split, made_from);
    }
  }
  OpenTable(const OpenTable&) = delete;  // the splits refer to their sources

  std::int64_t shards() const {
    std::int64_t all = 0;
    for (const TableSplit& split : splits) all += split.plan.shards();
    return all;
  }

private:
  void add(const StageContext& context, const RowTable& images, const std::string& split,
           const nlohmann::json& made_from) {
    const CouplingRows rows = numbering(config, images.rows(), split == "train");
    nlohmann::json provenance{
        {"dataset", images.content_hash()}, {"flips", rows.flips}, {"replicates", rows.replicates}};
    add(context, images, rows, split, std::move(provenance), made_from, config.block_rows,
        ShardPlan{rows.rows(), config.shard_rows}, kind.columns(shape, config));
  }

  void add_mapped(const StageContext& context, const RowTable& base, const std::string& split,
                  const nlohmann::json& made_from) {
    nlohmann::json provenance{{"base_table", base.content_hash()},
                              {"flips", base.provenance().value("flips", false)},
                              {"replicates", base.provenance().value("replicates", std::int64_t{1})}};
    if (base.provenance().contains("dataset")) provenance["dataset"] = base.provenance()["dataset"];
    add(context, base, {base.rows(), false, 1}, split, std::move(provenance), made_from, base.block_rows(), base.plan(),
        kind.mapped_columns(base.columns(), config));
  }

  void add(const StageContext& context, const RowTable& source, const CouplingRows& rows, const std::string& split,
           nlohmann::json provenance, const nlohmann::json& made_from, std::int64_t block_rows, const ShardPlan& plan,
           std::vector<Column> columns) {
    provenance.update({{"split", split},
                       {"seed", context.config.pipeline.seed},
                       {"slice_rows", config.slice_rows},
                       {"precision", config.precision}});
    provenance.update(made_from);
    splits.push_back({source, rows, context.run.table(context.node.table, split), split, std::move(provenance),
                      block_rows, plan, std::move(columns), shape.codec});
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
  std::int64_t shard = counted;
  for (const TableSplit& split : all.splits) {
    if (shard < split.plan.shards()) return {&split, shard, counted};
    shard -= split.plan.shards();
  }
  fail("there is no shard {} in a table of {}", counted, all.shards());
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
          progress.rate(done) * static_cast<double>(all.splits.front().plan.shard_rows), progress.remaining(done));
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
  if (sums.contains("nats_sum")) {
    const double rows = static_cast<double>(table.plan.rows - count("nonfinite_rows"));
    const double nats = sums["nats_sum"] / rows;
    summary["nats_closed"] = nats;
    summary["nats_closed_standard_error"] = std::sqrt(std::max(sums["nats_squares"] / rows - nats * nats, 0.0) / rows);
  }
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
  if (summary.contains("nats_closed"))
    say("{}: the table's own map closes {:.3f} ± {:.3f} nats a row of the gap to N(0, I)", table.split,
        summary["nats_closed"].get<double>(), summary["nats_closed_standard_error"].get<double>());
  if (summary.contains("round_trip_mean"))
    say("{}: round trip of {} rows: mean {:.4g}, largest {:.4g}", table.split,
        summary["round_trip_rows"].get<std::int64_t>(), summary["round_trip_mean"].get<double>(),
        summary["round_trip_max"].get<double>());
}

/// On one rank: the tables' directories, without what killed writers left there.
void clear_directories(const StageContext& context, Ownership ownership) {
  for (const std::string& split : splits_of(context)) {
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
           range.first, range.last, all.shards() - 1, all.splits[0].plan.shards(), all.splits[0].plan.shard_rows,
           all.shards() - all.splits[0].plan.shards());
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
  const std::string base = base_of(context);
  const auto plan_of = [&](const std::string& split) {
    if (!base.empty())
      return manifest_plan(load_manifest(table_directory(context.config, context.run, base, split), coupling_format));
    const auto images = seen_rows(context.config, context.run, split);
    const std::int64_t samples = manifest_plan(load_manifest(images, dataset_format)).rows;
    return ShardPlan{numbering(config, samples, split == "train").rows(), config.shard_rows};
  };
  std::vector<std::int64_t> absent;
  std::int64_t counted = 0;
  for (const std::string& split : splits_of(context)) {
    const ShardPlan plan = plan_of(split);
    std::set<std::string> names;
    const auto directory = context.run.table(context.node.table, split);
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
