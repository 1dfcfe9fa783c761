#include "stages/stage_progress.h"

#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/optimizer/schedule.h"
#include "stages/stage_heartbeats.h"
#include "storage/clock.h"
#include "storage/files/text_tail.h"
#include "storage/tables/filenames.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace couplet {

namespace {

double ago(const std::filesystem::path& path) {
  const double changed = changed_at(path);
  return changed > 0 ? std::max(0.0, unix_now() - changed) : -1;
}

/// Steps a second over the last lines of metrics, pauses included.
double step_rate(const std::vector<std::string>& lines) {
  double seconds = 0;
  std::int64_t steps = 0;
  for (const auto& text : lines) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("seconds")) continue;
    seconds += line.value("seconds", 0.0) + line.value("observation_pause", 0.0);
    ++steps;
  }
  return seconds > 0 ? static_cast<double>(steps) / seconds : 0;
}

}  // namespace

StageWork training_work(const std::filesystem::path& directory, const TrainingConfig& training) {
  StageWork work{0, training_steps(training), "steps", 0, -1};
  const auto lines = last_lines(directory / "metrics.jsonl");
  for (const auto& text : lines) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    if (line.is_object() && line.contains("step")) work.done = line["step"].get<std::int64_t>() + 1;
  }
  work.rate = step_rate(lines);
  const auto checkpoints = directory / "checkpoints";
  if (std::filesystem::exists(checkpoints))
    if (const auto steps = checkpoint_steps(checkpoints); !steps.empty())
      work.saved_ago = ago(checkpoints / checkpoint_name(steps.front()));
  return work;
}

StageWork shard_work(const std::filesystem::path& directory) {
  StageWork work{0, 0, "shards", 0, -1};
  if (!std::filesystem::exists(directory)) return work;
  std::map<std::filesystem::path, std::int64_t> totals;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (const auto name = parse_shard_name(entry.path().filename().string())) {
      ++work.done;
      totals[entry.path().parent_path()] = name->shards;
    }
  for (const auto& [folder, shards] : totals) {
    work.total += shards;
    const double age = ago(folder);  // changes with every shard
    if (work.saved_ago < 0 || age < work.saved_ago) work.saved_ago = age;
  }
  return work;
}

StageWork table_work(const StageNode& node, const RunView& view) {
  StageWork work = shard_work(view.run.stage(node.name));
  work.rate = noted_rate(view.run, node);
  return work;
}

StageWork score_work(const std::filesystem::path& records, std::int64_t done, std::int64_t total) {
  return {done, total, "scores", 0, ago(records)};
}

}  // namespace couplet
