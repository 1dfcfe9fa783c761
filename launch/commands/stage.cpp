// couplet stage: one stage, or all of a kind, in this process; under mpirun or srun every rank runs it.
#include "launch/commands/commands.h"
#include "launch/commands/rank_end.h"
#include "launch/local/ranks.h"

#include "pipeline/config/options.h"
#include "pipeline/config/validation.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/liveness/watchdog.h"
#include "pipeline/process/end_note.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/arithmetic.h"
#include "stages/attempt.h"
#include "stages/couple/couple.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"
#include "storage/text.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <optional>

namespace couplet {

CommandSyntax stage_syntax() {
  return {
      .name = "stage",
      .arguments = "STAGE",
      .summary = "run one stage, or all of a kind, in this process",
      .flags = {{"run-dir", "DIR", "the run directory"},
                {"config", "FILE", "INI file; without it the run's own config.ini"},
                {"couple.shards", "A-B", "couple: only these shards; other jobs make the rest at the same time"},
                {"couple.part", "K/N", "couple: the K-th of N equal parts of the shards, from 0"},
                {"couple.finish", "", "couple: close the table that such jobs have filled"},
                {"end-note", "FILE", "for job scripts: why the stage was asked to stop, or failed, is appended to it"},
                {"launched", "RANKS",
                 "one of so many ranks of `couplet run`, which holds the run directory and ends this process with it"}},
      .takes_keys = true,
      .notes = "STAGE: " + kind_names() +
               ",\nor one stage such as student/nf-0.\n"
               "With several ranks: mpirun -n N couplet stage STAGE ..., or srun.\n"
               "--couple.shards counts through the training table's shards, then the held-out table's. The job that\n"
               "makes the last missing one closes the table; --couple.finish does so where none did.\n"};
}

namespace {

/// The part of the coupling table that the command line asks for; false: no part, but whole stages.
bool run_parts(const CommandLine& line, const Session& session, const std::vector<StageNode>& nodes) {
  const bool range = line.has("couple.shards"), share = line.has("couple.part"), finish = line.has("couple.finish");
  if (!range && !share && !finish) return false;
  if (range + share + finish > 1)
    refuse(
        "--couple.shards, --couple.part and --couple.finish exclude each other: the job that makes the last shard "
        "closes the table");
  if (nodes.size() != 1 || nodes[0].table.empty())
    refuse(
        "--couple.shards, --couple.part and --couple.finish belong to one table, as in `couplet stage coupling/nf`, "
        "not to stage {}{}",
        line.argument(), nodes.size() > 1 ? ", which are several" : "");
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
  attempt_part(session, nodes[0], part);
  return true;
}

/// What all ranks must agree on before any work: with ranks of another version or configuration, or of other devices,
/// a stage would come out as a mixture.
nlohmann::json facts_of(const CommandLine& line, const Config& config) {
  nlohmann::json facts = {
      {"program version", COUPLET_VERSION},         {"stage", line.argument()},
      {"couple.shards", line.get("couple.shards")}, {"couple.part", line.get("couple.part")},
      {"couple.finish", line.has("couple.finish")}, {"device", resolve_device(config.pipeline.device)}};
  facts.update(nlohmann::json(result_facts(config)));
  return facts;
}

/// What this attempt's notes on what the ranks do are called: student-nf-0, coupling-nf-0-63, coupling-nf-3.
std::string job_name(const CommandLine& line) {
  std::string name = line.argument();
  if (line.has("couple.shards")) name += "-" + line.get("couple.shards");
  if (line.has("couple.part")) name += fmt::format("-{}", parse_shard_part(line.get("couple.part")).part);
  std::ranges::replace(name, '/', '-');
  return name;
}

/// Stages on their own may run side by side in one run directory, but not beside `couplet run`.
std::optional<FileLock> share_run(const CommandLine& line, const Config& config, const RunDirectory& run,
                                  Communicator& communicator) {
  std::optional<FileLock> lock;
  if (communicator.is_root()) {
    std::filesystem::create_directories(run.root());
    if (!line.has("launched")) lock.emplace(run.lock(), LockMode::shared, "run directory " + run.root().string());
    if (!std::filesystem::exists(run.config())) publish_file(run.config(), to_ini(config, true, run.root()));
  }
  communicator.barrier();
  return lock;
}

void run_nodes(const CommandLine& line, const Config& config, const RunDirectory& run, Communicator& communicator) {
  const StageGraph graph = stage_graph(config, look_at_inputs(config, run, communicator));
  const auto nodes = select_nodes(line.argument(), graph);
  for (const auto& node : nodes) validate_ranks(config, communicator.size(), node.kind, node.student);
  const std::optional<FileLock> run_lock = share_run(line, config, run, communicator);
  const auto threads = line.has("launched") ? resolve_threads(config.pipeline, local_ranks())
                                            : resolve_task_threads(config.pipeline, local_ranks());
  at::set_num_threads(static_cast<int>(threads));
  const Session session{{config, run, graph}, communicator, pick_device(config.pipeline.device, communicator)};
  if (run_parts(line, session, nodes)) return;
  for (const auto& node : nodes) attempt_stage(session, node);
}

/// The launcher that `couplet run` found may belong to another MPI than this program, and its processes know nothing of
/// each other.
void require_launched(const CommandLine& line, int ranks) {
  if (!line.has("launched") || line.get("launched") == fmt::format("{}", ranks)) return;
  refuse(
      "`couplet run` started {} ranks, to MPI there are {}: the launcher that it found in PATH does not belong to {}, "
      "with which this program is built; put its own first, or run with --ranks 1",
      line.get("launched"), ranks, mpi_name());
}

void run_ranks(const CommandLine& line) {
  if (line.has("end-note")) open_end_note(line.get("end-note"));
  if (line.has("launched") || is_launchers_child()) end_with_parent();
  const RunDirectory run(std::filesystem::path(line.required("run-dir")).lexically_normal());
  keep_failure_in(failure_path(run.heartbeats(), job_name(line)));
  std::filesystem::path file = line.get("config");
  if (file.empty() && std::filesystem::exists(run.config())) file = run.config();
  refuse_earlier_form(run);
  const Config config = resolve_config(file, line.settings());
  // `couplet run` counts its own.
  if (!line.has("launched")) set_time_limit(config.pipeline.time_limit);
  if (resolve_device(config.pipeline.device) == "cuda")
    choose_gpu_arithmetic({config.pipeline.tf32, config.pipeline.reproducible});
  // It watches from the moment when ranks may wait for each other: while their devices are joined, too.
  std::optional<Watchdog> watchdog;
  const auto watch = [&](Communicator& ranks) {
    require_launched(line, ranks.size());
    require_agreement(ranks, "what they are to do", facts_of(line, config));
    watchdog.emplace(make_job_heartbeats(ranks, run.heartbeats(), job_name(line)), config.pipeline.timeout);
  };
  const std::unique_ptr<Communicator> communicator = make_communicator(config.pipeline.device, watch);
  run_nodes(line, config, run, *communicator);
  note_success();
}

}  // namespace

int stage_command(const std::vector<std::string>& words) {
  const bool launched = std::ranges::find(words, "--launched") != words.end();
  watch_signals(launched ? Repeats::nothing : Repeats::insists);
  return run_rank([&] {
    try {
      const CommandLine line(stage_syntax(), words);
      if (line.help())
        fmt::print("{}", help_text(stage_syntax()));
      else
        run_ranks(line);
      return static_cast<int>(exit_ok);
    } catch (const Interrupted& interrupted) {
      close_end_note();
      say("{}{}", time_limit_over() ? "pipeline.time-limit is over: " : "", interrupted.what());
      return static_cast<int>(exit_interrupted);
    }
  });
}

}  // namespace couplet
