// couplet stage: one stage, or all of a kind, in this process; under mpirun or srun every rank runs it.
#include "launch/commands/commands.h"
#include "launch/commands/rank_end.h"
#include "launch/local/ranks.h"

#include "pipeline/config/validation.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/liveness/watchdog.h"
#include "pipeline/process/end_note.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/run/stage_record.h"
#include "stages/couple/couple.h"
#include "stages/stages.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"
#include "storage/text.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>

namespace couplet {

namespace {

constexpr double orphan_seconds = 30;  // within which the ranks of a killed predecessor are gone

CommandSyntax stage_syntax() {
  return {
      .name = "stage",
      .arguments = "NAME",
      .summary = "run one stage, or all of a kind, in this process",
      .flags = {{"run-dir", "DIR", "the run directory"},
                {"config", "FILE", "INI file; without it the run's own config.ini"},
                {"couple.shards", "A-B", "couple: only these shards; other jobs make the rest at the same time"},
                {"couple.part", "K/N", "couple: the K-th of N equal parts of the shards, from 0"},
                {"couple.finish", "", "couple: close the table that such jobs have filled"},
                {"end-note", "FILE", "for job scripts: why the stage was asked to stop, or failed, is appended to it"},
                {"launched", "",
                 "started by `couplet run`, which holds the run directory and ends this process with it"}},
      .takes_keys = true,
      .notes =
          "NAME: prepare, features, teacher, couple, student, evaluate, report, or one such as student/nf-0.\n"
          "With several ranks: mpirun -n N couplet stage NAME ..., or srun.\n"
          "--couple.shards counts through the training table's shards, then the held-out table's. The job that\n"
          "makes the last missing one closes the table; --couple.finish does so where none did.\n"};
}

double unix_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

double now_seconds() {
  return unix_seconds(std::chrono::system_clock::now());
}

/// How long an attempt ran that was killed: until its log was written to last.
double unfinished_seconds(const StageRecord& record, const std::filesystem::path& log) {
  if (record.running_since == 0 || !std::filesystem::exists(log)) return 0;
  const auto written = std::chrono::file_clock::to_sys(std::filesystem::last_write_time(log));
  return std::max(0.0, unix_seconds(written) - record.running_since);
}

/// What every rank of this process works with.
struct Session {
  const Config& config;
  const RunDirectory& run;
  const std::vector<StageNode>& graph;
  Communicator& communicator;
  c10::Device device;
};

/// On rank 0, which owns the stage exclusively at this moment: decides, and publishes the record of an attempt that
/// begins. True: there is work.
/// `alone`: no other job works on the stage now.
bool begin_attempt(const Session& session, const StageNode& node, StageRecord& record, bool alone = true) {
  const auto directory = session.run.stage(node.name);
  require_inputs(node, session.graph, session.config, session.run);
  const Decision decision = decide(node, session.graph, session.config, session.run);
  if (decision.action == Action::skip) {
    say("skipped: {}", decision.reason);
    return false;
  }
  const auto earlier = read_record(directory);
  record = new_record(node, session.graph, session.config);
  if (decision.action == Action::resume) {
    record.attempts = earlier->attempts;
    record.seconds = earlier->seconds;
    if (alone) record.seconds += unfinished_seconds(*earlier, session.run.stage_log(node.name));
    say("goes on: {}", decision.reason);
  } else if (earlier) {
    say("starts anew: {}", decision.reason);
    delete_stage(node, session.run);
  }
  if (alone) remove_leftovers(directory);
  record.attempts += 1;
  record.ranks = session.communicator.size();
  record.running_since = alone ? now_seconds() : 0;
  publish_record(directory, record);
  return true;
}

/// The attempt is over; on rank 0.
void end_attempt(const Session& session, const StageNode& node, StageRecord& record, StageState state) {
  record.seconds += now_seconds() - record.running_since;
  record.running_since = 0;
  record.state = state;
  publish_record(session.run.stage(node.name), record);
}

void run_node(const Session& session, const StageNode& node) {
  Communicator& communicator = session.communicator;
  const auto lock_path = session.run.stage_lock(node.name);
  std::filesystem::create_directories(session.run.log());
  std::filesystem::create_directories(session.run.stage(node.name));
  open_log(session.run.stage_log(node.name), node.name, communicator.rank(), communicator.size());
  // Rank 0 alone first, which waits for a killed predecessor's ranks to vanish; then every rank until its end.
  StageRecord record;
  std::optional<FileLock> lock, parts;
  bool work = false;
  if (communicator.is_root()) {
    const Busy busy("looking what is to be done");
    if (node.kind == "couple")
      parts.emplace(session.run.parts_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
    lock.emplace(lock_path, LockMode::exclusive, "stage " + node.name, orphan_seconds);
    work = begin_attempt(session, node, record);
    lock->share();
  }
  if (communicator.maximum(work ? 1 : 0) == 0) return;
  if (!lock) lock.emplace(lock_path, LockMode::shared, "stage " + node.name);

  StageContext context{node,         session.config, session.run,
                       communicator, session.device, fingerprint(node, session.graph, session.config)};
  try {
    run_stage(context);
  } catch (const Interrupted&) {
    if (communicator.is_root()) end_attempt(session, node, record, StageState::started);
    throw;
  }
  communicator.barrier();
  if (!communicator.is_root()) return;
  end_attempt(session, node, record, StageState::complete);
  say("complete in {}", duration_text(record.seconds));
}

/// "3, 7-9"
std::string ranges_text(const std::vector<std::int64_t>& numbers) {
  std::vector<std::string> ranges;
  for (std::size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    for (end = begin + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1;) ++end;
    ranges.push_back(end == begin + 1 ? fmt::format("{}", numbers[begin])
                                      : fmt::format("{}-{}", numbers[begin], numbers[end - 1]));
  }
  return fmt::format("{}", fmt::join(ranges, ", "));
}

/// Closes the coupling table if all its shards are there; on rank 0. Returns the missing ones.
std::vector<std::int64_t> close_parts(const Session& session, const StageNode& node, StageContext& context,
                                      double seconds) {
  const auto directory = session.run.stage(node.name);
  const FileLock lock(session.run.stage_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
  auto record = read_record(directory);
  if (!record) fail("{}: its record is gone; another program deleted it meanwhile", record_path(directory).string());
  record->seconds += seconds;
  std::vector<std::int64_t> missing;
  if (record->state != StageState::complete) {
    missing = close_coupling(context);
    if (missing.empty()) record->state = StageState::complete;
  }
  publish_record(directory, *record);
  return missing;
}

/// What a job makes of the coupling table beside other jobs on the same directory.
struct TablePart {
  std::string name;                                 ///< of its log: "coupling-0-63"
  std::function<void(StageContext& context)> make;  ///< none: the table is only closed
};

/// The stage's lock is held at the beginning and the end only, the lock on its parts all the time.
void run_part(const Session& session, const StageNode& node, const TablePart& part) {
  Communicator& communicator = session.communicator;
  const double start = now_seconds();
  std::filesystem::create_directories(session.run.log());
  std::filesystem::create_directories(session.run.stage(node.name));
  open_log(session.run.stage_log(part.name), part.name, communicator.rank(), communicator.size());
  std::optional<FileLock> parts;
  bool work = false;
  if (communicator.is_root()) {
    const Busy busy("looking what is to be done");
    parts.emplace(session.run.parts_lock(node.name), part.make ? LockMode::shared : LockMode::exclusive,
                  "stage " + node.name, orphan_seconds);
    const FileLock lock(session.run.stage_lock(node.name), LockMode::exclusive, "stage " + node.name, orphan_seconds);
    StageRecord record;
    work = begin_attempt(session, node, record, !part.make);
  }
  if (communicator.maximum(work ? 1 : 0) == 0) return;
  if (!parts && part.make) parts.emplace(session.run.parts_lock(node.name), LockMode::shared, "stage " + node.name);
  StageContext context{node,         session.config, session.run,
                       communicator, session.device, fingerprint(node, session.graph, session.config)};
  if (part.make) part.make(context);
  if (!communicator.is_root()) return;
  const std::vector<std::int64_t> missing = close_parts(session, node, context, now_seconds() - start);
  if (missing.empty())
    say("complete");
  else if (part.make)
    say("its shards are there; {} are still missing", ranges_text(missing));
  else
    fail("{}: shards {} are missing; couplet stage couple --couple.shards {}-{} makes them",
         session.run.coupling().string(), ranges_text(missing), missing.front(), missing.back());
}

/// The part of the coupling table that the command line asks for; false: no part, but whole stages.
bool run_parts(const CommandLine& line, const Session& session, const std::vector<StageNode>& nodes) {
  const bool range = line.has("couple.shards"), share = line.has("couple.part"), finish = line.has("couple.finish");
  if (!range && !share && !finish) return false;
  if (range + share + finish > 1)
    refuse(
        "--couple.shards, --couple.part and --couple.finish exclude each other: the job that makes the last shard "
        "closes the table");
  if (nodes.size() != 1 || nodes[0].kind != "couple")
    refuse("--couple.shards, --couple.part and --couple.finish belong to `couplet stage couple`, not to stage {}",
           line.argument());
  TablePart part{nodes[0].name, {}};
  if (range) {
    const ShardRange shards = parse_shard_range(line.get("couple.shards"));
    part = {fmt::format("{}-{}-{}", part.name, shards.first, shards.last),
            [shards](StageContext& context) { couple_shards(context, shards); }};
  } else if (share) {
    const ShardPart shards = parse_shard_part(line.get("couple.part"));
    part = {fmt::format("{}-{}", part.name, shards.part),
            [shards](StageContext& context) { couple_part(context, shards); }};
  }
  run_part(session, nodes[0], part);
  return true;
}

/// What all ranks must agree on before any work: with ranks of another version or configuration, or of other devices,
/// a stage would come out as a mixture.
nlohmann::json facts_of(const CommandLine& line, const Config& config) {
  nlohmann::json facts = {
      {"program version", COUPLET_VERSION},         {"stage", line.argument()},
      {"couple.shards", line.get("couple.shards")}, {"couple.part", line.get("couple.part")},
      {"couple.finish", line.has("couple.finish")}, {"device", resolve_device(config.pipeline.device)}};
  for (const Option& option : options())
    if (option.kind == OptionKind::result) facts[option.key] = value_text(config, option.key);
  return facts;
}

/// What this attempt's notes on what the ranks do are called: student-nf-0, coupling-0-63, coupling-3.
std::string board_name(const CommandLine& line) {
  std::string name = line.argument();
  if (line.has("couple.shards")) name += "-" + line.get("couple.shards");
  if (line.has("couple.part")) name += fmt::format("-{}", parse_shard_part(line.get("couple.part")).part);
  std::ranges::replace(name, '/', '-');
  return name;
}

void run_nodes(const CommandLine& line, const Config& config, const RunDirectory& run, Communicator& communicator) {
  const auto graph = stage_graph(config);
  const auto nodes = select_nodes(line.argument(), graph);
  for (const auto& node : nodes) validate_ranks(config, communicator.size(), node.kind);
  require_agreement(communicator, "what they are to do", facts_of(line, config));
  const Watchdog watchdog(make_board(communicator, run.rank_notes(), board_name(line)), communicator.rank(),
                          communicator.size(), config.pipeline.timeout);
  const auto threads = line.has("launched") ? resolve_threads(config.pipeline, local_ranks())
                                            : resolve_task_threads(config.pipeline, local_ranks());
  at::set_num_threads(static_cast<int>(threads));
  const Session session{config, run, graph, communicator, pick_device(config.pipeline.device, communicator)};
  // Stages on their own may run side by side in one run directory, but not beside `couplet run`.
  std::optional<FileLock> run_lock;
  if (communicator.is_root()) {
    std::filesystem::create_directories(run.root());
    if (!line.has("launched")) run_lock.emplace(run.lock(), LockMode::shared, "run directory " + run.root().string());
    if (!std::filesystem::exists(run.config())) publish_file(run.config(), to_ini(config, true));
  }
  communicator.barrier();
  if (run_parts(line, session, nodes)) return;
  for (const auto& node : nodes) run_node(session, node);
}

void run_ranks(const CommandLine& line, RankIdentity& identity) {
  if (line.has("end-note")) open_end_note(line.get("end-note"));
  if (line.has("launched") || std::getenv("OMPI_COMM_WORLD_SIZE")) end_with_parent();
  const RunDirectory run(std::filesystem::path(line.required("run-dir")).lexically_normal());
  keep_failure_in(failure_path(run.rank_notes(), board_name(line)));
  std::filesystem::path file = line.get("config");
  if (file.empty() && std::filesystem::exists(run.config())) file = run.config();
  const Config config = resolve_config(file, line.settings());
  // `couplet run` counts its own.
  if (!line.has("launched")) set_time_limit(config.pipeline.time_limit);
  const std::unique_ptr<Communicator> communicator = make_communicator(config.pipeline.device);
  identity = {communicator->rank(), communicator->size()};
  run_nodes(line, config, run, *communicator);
  note_success();
}

}  // namespace

int stage_command(const std::vector<std::string>& words) {
  const bool launched = std::ranges::find(words, "--launched") != words.end();
  watch_signals(launched ? Repeats::nothing : Repeats::insists);
  return run_rank([&](RankIdentity& identity) {
    try {
      const CommandLine line(stage_syntax(), words);
      if (line.help())
        fmt::print("{}", help_text(stage_syntax()));
      else
        run_ranks(line, identity);
      return exit_ok;
    } catch (const Interrupted& interrupted) {
      close_end_note();
      say("{}{}", time_limit_over() ? "pipeline.time-limit is over: " : "", interrupted.what());
      return exit_interrupted;
    }
  });
}

}  // namespace couplet
