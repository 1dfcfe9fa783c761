#include "launch/stage_logs.h"

#include "launch/slurm/job_book.h"
#include "launch/stage_work.h"

#include <algorithm>
#include <cctype>
#include <regex>

namespace couplet {

namespace {

namespace fs = std::filesystem;

/// `name` is `stem`, or `stem` with numbers behind it.
bool is_numbered(const std::string& name, const std::string& stem) {
  if (!name.starts_with(stem)) return false;
  return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(stem.size()), name.end(),
                     [](unsigned char letter) { return letter == '-' || std::isdigit(letter) != 0; });
}

/// A line's speaker.
struct Speaker {
  std::optional<std::int64_t> rank;
  bool in_log = false;  ///< rank 0, of whom the stage's log has every word
};

Speaker speaker_of(const std::string& line, const StageNode& node) {
  // "couplet: rank 2: ...", "teacher: rank 2: warning: ...", of srun --label "2: ...", "srun: error: n1: task 2: ..."
  static const std::regex numbered(R"((?:[\w/-]+: rank (\d+): |(\d+): |srun: error: \S+: task (\d+): ).*)");
  std::smatch match;
  if (std::regex_match(line, match, numbered))
    for (std::size_t i = 1; i < match.size(); ++i)
      if (match[i].matched) return {std::stoll(match[i]), false};
  const auto colon = line.find(": ");
  if (colon == std::string::npos) return {};
  const std::string name = line.substr(0, colon);
  if (name == node.name || is_name_of(name, node)) return {0, true};
  return {};
}

}  // namespace

bool is_name_of(const std::string& name, const StageNode& node) {
  const std::string flat = flat_name(node.name);
  return node.kind == "couple" ? is_numbered(name, flat) : name == flat;
}

bool is_board_of(const std::string& board, const StageNode& node) {
  return is_name_of(board, node) || (node.kind == "couple" ? is_numbered(board, node.kind) : board == node.kind);
}

std::vector<fs::path> log_files(const RunDirectory& run, const StageNode& node) {
  std::vector<std::pair<double, fs::path>> logs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run.log(), error))
    if (entry.path().extension() == ".log" && is_name_of(entry.path().stem().string(), node))
      logs.emplace_back(changed_at(entry.path()), entry.path());
  std::ranges::sort(logs);
  std::vector<fs::path> files;
  for (auto& [changed, path] : logs) files.push_back(std::move(path));
  std::ranges::copy(job_outputs(run, node.name), std::back_inserter(files));
  return files;
}

fs::path newest_log(const RunDirectory& run, const StageNode& node) {
  fs::path newest = run.stage_log(node.name);
  for (const fs::path& file : log_files(run, node))
    if (file.extension() == ".log") newest = file;
  return newest;
}

bool LineFilter::picks(const fs::path& file, const std::string& line) const {
  const Speaker speaker = speaker_of(line, node_);
  if (speaker.in_log && file.extension() != ".log") return false;
  return !rank_ || speaker.rank == rank_;
}

}  // namespace couplet
