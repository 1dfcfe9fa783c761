// couplet repair: drops the damaged shards of a table, so that a rerun of its stage makes just those again.
#include "launch/commands/commands.h"

#include "method/tables/coupling_check.h"
#include "pipeline/run/stage_record.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"
#include "storage/tables/table_check.h"

#include <map>
#include <optional>
#include <set>

namespace couplet {

CommandSyntax repair_syntax() {
  return {.name = "repair",
          .arguments = "PATH",
          .summary = "drop the damaged shards of a table, so that a rerun makes just those",
          .flags = {{"dry-run", "", "say what would be dropped and drop nothing"},
                    {"quick", "", "judge by headers, sizes and the manifest only, as verify --quick does"}},
          .takes_keys = false,
          .notes =
              "PATH is a directory of shards, such as RUN/coupling/nf/train. The command lists what it drops before\n"
              "it does. Inside a run directory it marks the stage as unfinished; the command that made the stage\n"
              "then makes the missing shards.\n"};
}

namespace {

/// The directory of the stage that made the table: of RUN/coupling/nf/test it is RUN/coupling/nf. Nothing outside a
/// run.
std::optional<std::filesystem::path> stage_of(const std::filesystem::path& table) {
  for (const auto& directory : {table, table.parent_path()})
    if (std::filesystem::exists(record_path(directory))) return directory;
  return std::nullopt;
}

/// The lock of the stage that made a table, if there is one. Who only looks needs none, but nobody may be at work
/// there.
std::optional<FileLock> own_stage(const std::optional<std::filesystem::path>& stage, bool looks_only) {
  if (!stage) return std::nullopt;
  const std::string what = "stage " + read_record(*stage)->stage;
  if (!looks_only) return FileLock(*stage / "lock", LockMode::exclusive, what);
  FileLock::require_free(*stage / "lock", what);
  return std::nullopt;
}

/// What is wrong with each file that has to go: damaged shards, files of other tables, a manifest that no longer holds.
std::map<std::string, std::vector<std::string>> files_to_drop(const TableSurvey& survey, bool quick) {
  std::map<std::string, std::vector<std::string>> drop;
  const auto note = [&](const std::vector<Problem>& problems) {
    for (const Problem& problem : problems)
      if (std::filesystem::exists(survey.directory / problem.file)) drop[problem.file].push_back(problem.what);
  };
  note(survey.problems);
  for (std::int64_t index = 0; index < survey.shards; ++index)
    note(check_shard(survey, index, quick, check_coupling_rows));
  return drop;
}

/// The manifest goes first: without it the table counts as unfinished from that moment on.
void drop_files(const std::filesystem::path& directory, const std::map<std::string, std::vector<std::string>>& drop) {
  std::filesystem::remove(directory / manifest_name);
  sync_path(directory);
  for (const auto& [name, reasons] : drop) std::filesystem::remove(directory / name);
  sync_path(directory);
}

void mark_unfinished(const std::filesystem::path& stage) {
  auto record = read_record(stage);
  if (!record || record->state != StageState::complete) return;
  record->state = StageState::started;
  publish_record(stage, *record);
}

}  // namespace

int repair_command(const std::vector<std::string>& words) {
  const CommandLine line(repair_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(repair_syntax()));
    return exit_ok;
  }
  const auto directory = std::filesystem::path(line.argument()).lexically_normal();
  if (!is_there(directory)) refuse("{} does not exist", directory.string());
  const TableSurvey survey = survey_table(directory);
  const auto stage = stage_of(directory);
  const std::optional<FileLock> lock = own_stage(stage, line.has("dry-run"));

  const auto drop = files_to_drop(survey, line.has("quick"));
  for (const auto& [name, reasons] : drop)
    for (const std::string& reason : reasons) fmt::print("{}: {}\n", name, reason);
  std::int64_t missing = 0;
  for (std::int64_t index = 0; index < survey.shards; ++index)
    if (!std::filesystem::exists(directory / shard_name(index, survey.shards))) ++missing;
  if (drop.empty() && missing == 0 && survey.manifest) {
    fmt::print("{}: nothing to repair\n", directory.string());
    return exit_ok;
  }
  fmt::print("{}: {} file{} to drop, {} shard{} missing\n", directory.string(), drop.size(),
             drop.size() == 1 ? "" : "s", missing, missing == 1 ? "" : "s");
  std::fflush(stdout);
  if (line.has("dry-run")) return exit_ok;
  if (stage) mark_unfinished(*stage);
  drop_files(directory, drop);
  fmt::print("dropped, with the manifest; {}\n",
             stage
                 ? fmt::format("`couplet run` or `couplet stage {}` makes what is missing", read_record(*stage)->stage)
                 : "make the missing shards again with what made the table");
  return exit_ok;
}

}  // namespace couplet
