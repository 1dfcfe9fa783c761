#include "stages/couple/couple.h"

#include "method/data/dataset.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "stages/couple/inversion.h"
#include "stages/trained/models.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/tables/filenames.h"

#include <cmath>
#include <regex>
#include <set>

namespace couplet {
namespace {

/// How the rows of a table follow from its images: all of the training images, one each of the held-out ones.
CouplingRows numbering(const StageContext& context, std::int64_t images, bool training) {
  const CoupleConfig& config = context.config.couple;
  return training ? CouplingRows{images, config.flips, config.replicates} : CouplingRows{images, false, 1};
}

/// The tables of a run, over data sets that are held open here.
struct CouplingTables {
  RowTable train_images, test_images;
  DatasetShape shape;
  std::vector<Inversion> tables;  ///< training, held out

  /// `teacher`: content hash of its EMA weights.
  CouplingTables(const StageContext& context, const std::string& teacher)
      : train_images(context.run.train_images(), dataset_format),
        test_images(context.run.test_images(), dataset_format),
        shape(dataset_shape(train_images)) {
    add(context, train_images, numbering(context, train_images.rows(), true), Purpose::coupling_noise, "train",
        teacher);
    add(context, test_images, numbering(context, test_images.rows(), false), Purpose::validation_noise, "test",
        teacher);
  }
  CouplingTables(const CouplingTables&) = delete;  // the inversions refer to the data sets

  std::int64_t shards() const { return tables[0].plan.shards() + tables[1].plan.shards(); }

private:
  void add(const StageContext& context, const RowTable& images, const CouplingRows& rows, Purpose purpose,
           const std::string& split, const std::string& teacher) {
    const Config& config = context.config;
    const nlohmann::json provenance{{"kind", context.node.table},           {"teacher", teacher},
                                    {"dataset", images.content_hash()},     {"split", split},
                                    {"noise", config.teacher.noise},        {"noise_std", config.teacher.noise_std},
                                    {"seed", config.pipeline.seed},         {"flips", rows.flips},
                                    {"replicates", rows.replicates},        {"slice_rows", config.couple.slice_rows},
                                    {"precision", config.couple.precision}, {"round_trip", config.couple.round_trip}};
    tables.push_back({images, rows, purpose, context.run.table(context.node.table, split), split, provenance,
                      config.couple.block_rows, ShardPlan{rows.rows(), config.couple.shard_rows},
                      coupling_columns(shape, parse_element_type(config.couple.noise_type)), shape.codec});
  }
};

/// A shard to make.
struct ShardTask {
  const Inversion* table = nullptr;
  std::int64_t shard = 0;    ///< in its table
  std::int64_t counted = 0;  ///< counted through both tables
};

CouplingTables open_tables(const StageContext& context) {
  return {context, hash_for_all(context.communicator, context.run.teacher_ema())};
}

/// The shard that is counted so.
ShardTask task_of(const CouplingTables& all, std::int64_t counted) {
  const std::int64_t train = all.tables[0].plan.shards();
  return counted < train ? ShardTask{&all.tables[0], counted, counted}
                         : ShardTask{&all.tables[1], counted - train, counted};
}

/// Opens every shard of the range that is there.
std::vector<std::int64_t> missing_shards(const CouplingTables& all, const ShardRange& range) {
  std::vector<std::int64_t> missing;
  for (std::int64_t counted = range.first; counted <= range.last; ++counted) {
    const ShardTask task = task_of(all, counted);
    const Inversion& table = *task.table;
    std::string why;
    if (!shard_is_complete(table.directory, table.plan, task.shard, table.header(task.shard), table.columns, why))
      missing.push_back(counted);
  }
  return missing;
}

/// Rank 0 looks for all: another job may publish shards of these between two ranks' looks.
std::vector<ShardTask> missing_for_all(Communicator& communicator, const CouplingTables& all, const ShardRange& range) {
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
void make_shards(StageContext& context, const CouplingTables& all, const ShardRange& range) {
  Communicator& communicator = context.communicator;
  const std::vector<ShardTask> missing = missing_for_all(communicator, all, range);
  if (communicator.is_root()) announce(missing, range, context.directory());
  if (missing.empty()) return;
  Inverter inverter(
      context.config,
      load_teacher(context.run.teacher_ema(), context.config.teacher, all.shape, context.device, communicator),
      context.device);
  Progress progress(0, static_cast<std::int64_t>(missing.size()));
  const auto size = static_cast<std::size_t>(communicator.size());
  for (std::size_t round = 0; round < missing.size(); round += size) {
    const std::size_t mine = round + static_cast<std::size_t>(communicator.rank());
    if (mine < missing.size() && !stop_requested()) inverter.make(*missing[mine].table, missing[mine].shard);
    if (agree_to_stop(communicator)) {
      inverter.wait();
      throw Interrupted(
          fmt::format("{}: stopped after whole shards; the same command makes the rest", context.node.name));
    }
    const auto done = static_cast<std::int64_t>(std::min(round + size, missing.size()));
    note_rate(progress.rate(done));
    if (progress.due(done)) {
      say("shard {}/{}, {:.0f} rows/s, {} left", done, missing.size(),
          progress.rate(done) * static_cast<double>(context.config.couple.shard_rows), progress.remaining(done));
    }
  }
  inverter.wait();
}

/// The figures over a whole table, from its shards' sums. σ_f² is the mean of f² over all rows and values (method of
/// NFM: one scalar).
nlohmann::json table_summary(const Inversion& table) {
  double sum_squares = 0, nll = 0, round_trip = 0, round_trip_max = 0;
  std::int64_t values = 0, nonfinite = 0, round_trip_rows = 0;
  for (std::int64_t shard = 0; shard < table.plan.shards(); ++shard) {
    const RowShard file(table.directory / shard_name(shard, table.plan.shards()), coupling_format);
    const nlohmann::json& summary = file.summary();
    sum_squares += summary.at("sum_squares").get<double>();
    values += summary.at("values").get<std::int64_t>();
    nll += summary.at("nll_sum").get<double>();
    nonfinite += summary.at("nonfinite_rows").get<std::int64_t>();
    round_trip += summary.at("round_trip_sum").get<double>();
    round_trip_max = std::max(round_trip_max, summary.at("round_trip_max").get<double>());
    round_trip_rows += summary.at("round_trip_rows").get<std::int64_t>();
  }
  nlohmann::json summary{{"sigma_f", std::sqrt(sum_squares / static_cast<double>(values))},
                         {"nll_mean", nll / static_cast<double>(table.plan.rows - nonfinite)},
                         {"nonfinite_rows", nonfinite},
                         {"round_trip_rows", round_trip_rows}};
  if (round_trip_rows > 0) {
    summary["round_trip_mean"] = round_trip / static_cast<double>(round_trip_rows);
    summary["round_trip_max"] = round_trip_max;
  }
  return summary;
}

void close_table(const Inversion& table) {
  const WorkingAlone alone("closing " + table.directory.string());
  const nlohmann::json summary = table_summary(table);
  publish_manifest(table.directory, table.plan, coupling_format, summary);
  say("{}: {} rows, sigma_f {:.4f}, NLL {:.4f} nats a value, {} rows not finite", table.split, table.plan.rows,
      summary["sigma_f"].get<double>(), summary["nll_mean"].get<double>(),
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

}  // namespace

ShardRange parse_shard_range(const std::string& text) {
  static const std::regex form("([0-9]{1,9})(?:-([0-9]{1,9}))?");
  std::smatch match;
  const bool matched = std::regex_match(text, match, form);
  const ShardRange range = !matched           ? ShardRange{0, -1}
                           : match[2].matched ? ShardRange{std::stoll(match[1]), std::stoll(match[2])}
                                              : ShardRange{std::stoll(match[1]), std::stoll(match[1])};
  if (range.last < range.first)
    refuse("--couple.shards {}: expected the numbers of the first and the last shard, such as 0-63", text);
  return range;
}

ShardPart parse_shard_part(const std::string& text) {
  static const std::regex form("([0-9]{1,9})/([0-9]{1,9})");
  std::smatch match;
  const bool matched = std::regex_match(text, match, form);
  const ShardPart part = matched ? ShardPart{std::stoll(match[1]), std::stoll(match[2])} : ShardPart{0, 0};
  if (part.part >= part.parts)
    refuse("--couple.part {}: expected the part, counted from 0, and the number of parts, such as 0/8 to 7/8", text);
  return part;
}

void couple(StageContext& context) {
  prepare_directories(context, Ownership::sole);
  const CouplingTables all = open_tables(context);
  make_shards(context, all, {0, all.shards() - 1});
  context.communicator.barrier();
  if (context.communicator.is_root())
    for (const Inversion& table : all.tables) close_table(table);
}

void couple_shards(StageContext& context, const ShardRange& range) {
  prepare_directories(context, Ownership::shared);
  const CouplingTables all = open_tables(context);
  if (range.last >= all.shards())
    refuse("--couple.shards {}-{}: there are shards 0 to {}: {} of {} rows, and behind them {} of the held-out images",
           range.first, range.last, all.shards() - 1, all.tables[0].plan.shards(), context.config.couple.shard_rows,
           all.tables[1].plan.shards());
  make_shards(context, all, range);
  context.communicator.barrier();
}

void couple_part(StageContext& context, const ShardPart& part) {
  prepare_directories(context, Ownership::shared);
  const CouplingTables all = open_tables(context);
  const auto first_of = [&](std::int64_t index) { return index * all.shards() / part.parts; };
  make_shards(context, all, {first_of(part.part), first_of(part.part + 1) - 1});
  context.communicator.barrier();
}

std::vector<std::int64_t> absent_shards(const StageContext& context) {
  std::vector<std::int64_t> absent;
  std::int64_t counted = 0;
  for (const bool training : {true, false}) {
    const auto images = training ? context.run.train_images() : context.run.test_images();
    const std::int64_t samples = manifest_plan(load_manifest(images, dataset_format)).rows;
    const ShardPlan plan{numbering(context, samples, training).rows(), context.config.couple.shard_rows};
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

std::vector<std::int64_t> close_coupling(StageContext& context) {
  const WorkingAlone alone("looking which shards are missing");
  clear_directories(context, Ownership::shared);
  const CouplingTables all(context, hash_file(context.run.teacher_ema()));
  if (auto missing = missing_shards(all, {0, all.shards() - 1}); !missing.empty()) return missing;
  for (const Inversion& table : all.tables) close_table(table);
  return {};
}

}  // namespace couplet
