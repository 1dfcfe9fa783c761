#include "launch/status/stage_logs.h"

#include "launch/slurm/submitted_jobs.h"
#include "stages/stage_heartbeats.h"
#include "storage/files/text_tail.h"
#include "storage/filesystem.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string_view>
#include <utility>

namespace couplet {

namespace {

/// A line's speaker.
struct Speaker {
  std::optional<std::int64_t> rank;
  bool in_log = false;  ///< rank 0, of whom the stage's log has every word
};

/// The number that `text` begins with, if ": " stands behind it.
std::optional<std::int64_t> leading_rank(std::string_view text) {
  std::int64_t rank = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rank);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return text.starts_with(": ") ? std::optional(rank) : std::nullopt;
}

Speaker speaker_of(const std::string& line, const StageNode& node) {
  if (const auto rank = leading_rank(line))  // srun --label
    return {rank, rank == 0 && speaker_of(line.substr(line.find(": ") + 2), node).in_log};
  const auto colon = line.find(": ");
  if (colon == std::string::npos) return {};
  const std::string name = line.substr(0, colon);
  const std::string_view rest = std::string_view(line).substr(colon + 2);
  constexpr std::string_view rank_word = "rank ", task_word = ": task ";
  const bool ours = name == node.name || is_name_of(name, node);
  if ((ours || name == "couplet") && rest.starts_with(rank_word))
    if (const auto rank = leading_rank(rest.substr(rank_word.size()))) return {rank, false};
  if (const auto task = rest.find(task_word); name == "srun" && task != std::string_view::npos)
    return {leading_rank(rest.substr(task + task_word.size())), false};
  if (ours) return {0, true};
  return {};
}

/// What rank 0 of the stage, or of each part of it, said; oldest first.
std::vector<fs::path> own_logs(const RunDirectory& run, const StageNode& node) {
  if (node.table.empty()) {
    const fs::path log = run.stage_log(node.name);
    return fs::exists(log) ? std::vector{log} : std::vector<fs::path>{};
  }
  std::vector<std::pair<double, fs::path>> logs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run.log(), error))
    if (entry.path().extension() == ".log" && is_name_of(entry.path().stem().string(), node))
      logs.emplace_back(changed_at(entry.path()), entry.path());
  std::ranges::sort(logs);
  std::vector<fs::path> files;
  for (auto& [changed, path] : logs) files.push_back(std::move(path));
  return files;
}

}  // namespace

std::vector<fs::path> log_files(const RunDirectory& run, const StageNode& node) {
  std::vector<fs::path> files = own_logs(run, node);
  std::ranges::copy(job_outputs(run, node.name), std::back_inserter(files));
  return files;
}

fs::path newest_log(const RunDirectory& run, const StageNode& node) {
  const auto logs = own_logs(run, node);
  return logs.empty() ? run.stage_log(node.name) : logs.back();
}

bool LineFilter::picks(const fs::path& file, const std::string& line) const {
  const Speaker speaker = speaker_of(line, node_);
  if (speaker.in_log && file.extension() != ".log") return false;
  return !rank_ || speaker.rank == rank_;
}

}  // namespace couplet
