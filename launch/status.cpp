// couplet status: how far every stage of a run is, from its record, locks, metrics and shards.
#include "launch/commands.h"

#include "pipeline/lock.h"
#include "pipeline/log.h"
#include "pipeline/stage_record.h"
#include "pipeline/trainer.h"
#include "storage/atomic_file.h"
#include "storage/filenames.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace couplet {

namespace {

/// Counted work of a stage; nothing known where `total` is 0.
struct Work {
  std::int64_t done = 0, total = 0;
  std::string unit;
};

struct StageStatus {
  std::string name, state;
  Work work;
  double seconds = 0;
  std::int64_t attempts = 0, ranks = 0;
  std::string holder;   ///< of a running stage
  std::string message;  ///< last line of its log
};

std::string last_line(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::ate);
  if (!file) return "";
  // Lines are short: the last one lies within the last block.
  constexpr std::streamoff block = 1 << 16;
  file.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(file.tellg()) - block));
  std::string last;
  for (std::string line; std::getline(file, line);)
    if (!line.empty()) last = line;
  return last;
}

Work training_work(const std::filesystem::path& directory, const TrainingConfig& training) {
  const auto line = nlohmann::json::parse(last_line(directory / "metrics.jsonl"), nullptr, false);
  const bool known = line.is_object() && line.contains("step");
  return {known ? line["step"].get<std::int64_t>() + 1 : 0, training_steps(training), "steps"};
}

/// Shards under a directory; how many there will be stands in their names.
Work shard_work(const std::filesystem::path& directory) {
  Work work{0, 0, "shards"};
  if (!std::filesystem::exists(directory)) return work;
  std::map<std::filesystem::path, std::int64_t> totals;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (const auto name = parse_shard_name(entry.path().filename().string())) {
      ++work.done;
      totals[entry.path().parent_path()] = name->shards;
    }
  for (const auto& [folder, shards] : totals) work.total += shards;
  return work;
}

Work work_of(const StageNode& node, const Config& config, const RunDirectory& run) {
  const auto directory = run.stage(node.name);
  if (node.kind == "features") return training_work(directory, config.features.training);
  if (node.kind == "teacher") return training_work(directory, config.teacher.training);
  if (node.kind == "student") return training_work(directory, config.student.training);
  if (node.kind == "prepare" || node.kind == "couple") return shard_work(directory);
  return {};
}

/// complete, running, stale (of another configuration than config.ini's), interrupted, not started.
std::string state_of(const StageNode& node, const std::vector<StageNode>& graph, const Config& config,
                     const std::optional<StageRecord>& record, const std::string& holder) {
  if (!holder.empty()) return "running";
  if (!record || record->state == StageState::withdrawn) return "not started";
  if (record->fingerprint != fingerprint(node, graph, config)) return "stale";
  return record->state == StageState::complete ? "complete" : "interrupted";
}

StageStatus status_of(const StageNode& node, const std::vector<StageNode>& graph, const Config& config,
                      const RunDirectory& run) {
  const auto record = read_record(run.stage(node.name));
  StageStatus status;
  status.name = node.name;
  status.holder = FileLock::holder(run.stage_lock(node.name));
  status.state = state_of(node, graph, config, record, status.holder);
  status.message = last_line(run.stage_log(node.name));
  if (status.message.starts_with(node.name + ": ")) status.message.erase(0, node.name.size() + 2);
  if (!record) return status;
  status.work = work_of(node, config, run);
  status.attempts = record->attempts;
  status.ranks = record->ranks;
  status.seconds = record->seconds;
  if (!status.holder.empty() && record->running_since > 0)
    status.seconds += std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count() -
                      record->running_since;
  return status;
}

nlohmann::ordered_json to_json(const StageStatus& status) {
  return {{"stage", status.name},        {"state", status.state},    {"done", status.work.done},
          {"total", status.work.total},  {"unit", status.work.unit}, {"seconds", status.seconds},
          {"attempts", status.attempts}, {"ranks", status.ranks},    {"holder", status.holder},
          {"message", status.message}};
}

void print_table(const std::vector<StageStatus>& stages, const std::string& holder) {
  fmt::print("{:<26} {:<12} {:>16} {:>10}  {}\n", "stage", "state", "done", "time", "last message");
  for (const auto& stage : stages) {
    const std::string done =
        stage.work.total > 0 ? fmt::format("{}/{} {}", stage.work.done, stage.work.total, stage.work.unit) : "";
    const std::string time = stage.attempts > 0 ? duration_text(stage.seconds) : "";
    fmt::print("{:<26} {:<12} {:>16} {:>10}  {}\n", stage.name, stage.state, done, time, stage.message);
  }
  if (!holder.empty()) fmt::print("in use by {}\n", holder);
}

}  // namespace

int status_command(const std::vector<std::string>& words) {
  const CommandSyntax syntax{.name = "status",
                             .arguments = "RUN",
                             .summary = "show how far each stage of a run directory is",
                             .flags = {{"json", "", "as JSON"}},
                             .takes_keys = false,
                             .notes =
                                 "States: complete, running, interrupted, not started, stale (made with another\n"
                                 "configuration than the run's config.ini).\n"};
  const CommandLine line(syntax, words);
  if (line.help()) {
    fmt::print("{}", help_text(syntax));
    return exit_ok;
  }
  const RunDirectory run(line.argument());
  if (!std::filesystem::exists(run.config()))
    refuse("{} is no run directory: it has no config.ini", run.root().string());
  const Config config = resolve_config(run.config(), {});
  const auto graph = stage_graph(config);
  const std::string holder = FileLock::holder(run.lock());
  std::vector<StageStatus> stages;
  for (const auto& node : graph) stages.push_back(status_of(node, graph, config, run));
  if (!line.has("json")) {
    print_table(stages, holder);
    return exit_ok;
  }
  nlohmann::ordered_json json{{"run", run.root().string()}, {"holder", holder}, {"stages", nlohmann::json::array()}};
  for (const auto& stage : stages) json["stages"].push_back(to_json(stage));
  fmt::print("{}\n", json.dump(2));
  return exit_ok;
}

}  // namespace couplet
