#include "stages/stage_progress.h"

#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/optimizer/schedule.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/rank_notes.h"
#include "storage/clock.h"
#include "storage/files/atomic_file.h"
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

/// Shards under a directory; how many there will be stands in their names.
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

StageWork score_work(const StageNode& node, const Config& config, const std::filesystem::path& directory) {
  StageWork work{0, 0, "scores", 0, -1};
  const bool denoises = config.teacher.noise == "gaussian" && config.teacher.noise_std > 0;
  const auto seeds = static_cast<std::int64_t>(config.evaluate.sampling_seeds.size());
  work.total = node.coupling.empty() ? 1 + seeds * (denoises ? 2 : 1)
                                     : static_cast<std::int64_t>(samplings(config.evaluate, node.coupling).size());
  const auto path = directory / "records.json";
  if (!std::filesystem::exists(path)) return work;
  const auto file = nlohmann::json::parse(read_file(path), nullptr, false);
  if (file.is_object() && file.contains("records"))
    for (const auto& record : file["records"])
      work.done += record.is_object() && record.value("metric", "") == "frechet_distance" ? 1 : 0;
  work.saved_ago = ago(path);
  return work;
}

}  // namespace

StageWork work_of(const StageNode& node, const Config& config, const RunDirectory& run) {
  const auto directory = run.stage(node.name);
  if (node.kind == "features") return training_work(directory, config.features.training);
  if (node.kind == "teacher") return training_work(directory, config.teacher.training);
  if (node.kind == "student") return training_work(directory, config.student.training);
  if (node.kind == "evaluate") return score_work(node, config, directory);
  if (node.kind != "prepare" && node.kind != "couple") return {};
  StageWork work = shard_work(directory);
  if (node.kind == "couple") work.rate = noted_rate(run, node);
  return work;
}

}  // namespace couplet
