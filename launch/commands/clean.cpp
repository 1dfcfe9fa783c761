// couplet clean: frees what the complete stages of a run no longer need.
#include "launch/commands/commands.h"

#include "pipeline/run/stage_record.h"
#include "stages/opened_run.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"

#include <optional>

namespace couplet {

CommandSyntax clean_syntax() {
  return {.name = "clean",
          .arguments = "RUN",
          .summary = "free what the complete stages of a run no longer need",
          .flags = {{"dry-run", "", "list it and delete nothing"}},
          .takes_keys = false,
          .notes =
              "It deletes the checkpoints of complete stages and what killed writers left behind, and lists\n"
              "everything before. Weights, tables, scores, metrics and logs stay; a stage that is not complete\n"
              "keeps its checkpoints.\n"};
}

namespace {

struct Waste {
  std::filesystem::path path;
  std::uintmax_t bytes = 0;
};

std::uintmax_t bytes_under(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return std::filesystem::file_size(path);
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
    if (entry.is_regular_file()) bytes += entry.file_size();
  return bytes;
}

/// Checkpoints of complete stages, and temporaries. Nobody else owns the run, so none belongs to a living writer.
std::vector<Waste> find_waste(const RunDirectory& run) {
  std::vector<Waste> waste;
  for (auto entry = std::filesystem::recursive_directory_iterator(run.root());
       entry != std::filesystem::recursive_directory_iterator(); ++entry) {
    const auto& path = entry->path();
    const bool leftover = path.filename().string().starts_with(".partial-");
    bool finished = false;
    if (path.filename() == "checkpoints" && entry->is_directory()) {
      const auto record = read_record(path.parent_path());
      finished = record && record->state == StageState::complete;
    }
    if (!leftover && !finished) continue;
    waste.push_back({path, bytes_under(path)});
    if (entry->is_directory()) entry.disable_recursion_pending();
  }
  return waste;
}

}  // namespace

int clean_command(const std::vector<std::string>& words) {
  const CommandLine line(clean_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(clean_syntax()));
    return exit_ok;
  }
  const RunDirectory run(std::filesystem::path(line.argument()).lexically_normal());
  require_run_directory(run);
  const std::string what = "run directory " + run.root().string();
  std::optional<FileLock> lock;
  if (line.has("dry-run"))
    FileLock::require_free(run.lock(), what);
  else
    lock.emplace(run.lock(), LockMode::exclusive, what);
  const std::vector<Waste> waste = find_waste(run);
  std::uintmax_t total = 0;
  for (const Waste& each : waste) {
    fmt::print("{:>12.1f} MB  {}\n", static_cast<double>(each.bytes) / 1e6, each.path.string());
    total += each.bytes;
  }
  fmt::print("{} item{}, {:.1f} MB\n", waste.size(), waste.size() == 1 ? "" : "s", static_cast<double>(total) / 1e6);
  std::fflush(stdout);
  if (line.has("dry-run")) return exit_ok;
  for (const Waste& each : waste) {
    std::filesystem::remove_all(each.path);
    sync_path(each.path.parent_path());
  }
  fmt::print("deleted\n");
  return exit_ok;
}

}  // namespace couplet
