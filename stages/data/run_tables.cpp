#include "stages/data/run_tables.h"

#include "method/couplings/coupling.h"
#include "pipeline/config/options.h"
#include "pipeline/config/validation.h"
#include "storage/error.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace couplet {
namespace {

/// The table of a student whose coupling names no table itself: what the student's own keys say.
RunTable named_table(const Config& config, const std::string& student, const CouplingKind& coupling,
                     std::vector<std::string> asking) {
  const StudentConfig own = student_config(config, student);
  const std::string section = section_of_student(config, student);
  if (coupling.made_by == "adoption") {
    const std::string name = own.table.empty() ? student : own.table;
    if (couple_config(config, name).source.empty())
      refuse("the student {} reads the table {} from elsewhere: set couple.{}.source to its directory", student, name,
             name);
    return {.name = name, .made_by = coupling.made_by};
  }
  if (own.reflow_of.empty())
    refuse("the student {} reads a table of a student's flow: set {}.reflow-of to the student's name", student,
           section);
  if (std::ranges::find(config.compare, own.reflow_of) == config.compare.end())
    refuse("{}.reflow-of = {}: student.compare = {} does not list such a student", section, own.reflow_of,
           fmt::join(config.compare, " "));
  asking.push_back(student);
  if (std::ranges::find(asking, own.reflow_of) != asking.end())
    refuse("{}.reflow-of = {}: the table of each of the students {} would be made by the flow of the next", section,
           own.reflow_of, fmt::join(asking, ", "));
  const CouplingKind& before = find_coupling(student_config(config, own.reflow_of).coupling);
  const std::int64_t rounds =
      before.made_by == coupling.made_by ? named_table(config, own.reflow_of, before, asking).round : 0;
  return {.name = coupling.table + "-" + own.reflow_of,
          .made_by = coupling.made_by,
          .student = own.reflow_of,
          .round = rounds + 1};
}

/// The table that a map fills from another.
RunTable mapped_table(const RunTable& base, const std::string& map) {
  return {.name = base.name + "-" + map,
          .made_by = "gaussianisation",
          .base = base.name,
          .map = map,
          .pairs_by = base.base.empty() ? base.made_by : base.pairs_by};
}

/// What the student's coupling pairs, and behind it what each of its maps makes of the noise before: the last is the
/// student's. None: it reads the data set.
std::vector<RunTable> tables_of_student(const Config& config, const std::string& student) {
  const StudentConfig own = student_config(config, student);
  const CouplingKind& coupling = find_coupling(own.coupling);
  if (!coupling.has_table()) return {};
  std::vector<RunTable> tables{{.name = coupling.table, .made_by = coupling.made_by}};
  if (coupling.table_is_named) tables[0] = named_table(config, student, coupling, {});
  tables[0].has_noise = coupling.table_has_noise;
  for (const std::string& map : own.gaussianise) tables.push_back(mapped_table(tables.back(), map));
  return tables;
}

bool are_one(const RunTable& a, const RunTable& b) {
  return a.made_by == b.made_by && a.base == b.base && a.map == b.map;
}

}  // namespace

bool has_noise_of_teacher(const StudentConfig& student) {
  return find_coupling(student.coupling).has_table_of_teacher() && student.gaussianise.empty();
}

std::optional<RunTable> table_of_student(const Config& config, const std::string& student) {
  const std::vector<RunTable> tables = tables_of_student(config, student);
  return tables.empty() ? std::nullopt : std::optional(tables.back());
}

std::vector<RunTable> run_tables(const Config& config) {
  std::vector<RunTable> all;
  for (const std::string& student : config.compare)
    for (const RunTable& table : tables_of_student(config, student)) {
      const auto same = std::ranges::find(all, table.name, &RunTable::name);
      if (same == all.end())
        all.push_back(table);
      else if (!are_one(*same, table))
        refuse(
            "two tables of the run would be called {0}: one is made by {1}, one by {2}; give the one from elsewhere "
            "another name (student.NAME.table, couple.NAME.source)",
            table.name, same->made_by, table.made_by);
    }
  return all;
}

RunTable find_run_table(const Config& config, const std::string& name) {
  const std::vector<RunTable> all = run_tables(config);
  const auto found = std::ranges::find(all, name, &RunTable::name);
  if (found == all.end()) fail("the run has no coupling table {}", name);
  return *found;
}

RunTable unmapped_table(const Config& config, const RunTable& table) {
  return table.base.empty() ? table : unmapped_table(config, find_run_table(config, table.base));
}

std::filesystem::path table_directory(const Config& config, const RunDirectory& run, const std::string& table,
                                      const std::string& split) {
  const std::vector<RunTable> all = run_tables(config);
  const auto found = std::ranges::find(all, table, &RunTable::name);
  if (found != all.end() && !found->base.empty())
    return table_directory(config, run, found->base, split).empty() ? std::filesystem::path() : run.table(table, split);
  const std::filesystem::path source = couple_config(config, table).source;
  if (source.empty()) return run.table(table, split);
  // A table of two splits, or one of rows alone.
  if (std::filesystem::exists(source / "train"))
    return std::filesystem::exists(source / split) ? source / split : std::filesystem::path();
  return split == "train" ? source : std::filesystem::path();
}

bool wants_candidates(const EvaluateConfig& config) {
  return std::ranges::any_of(config.candidates, [](std::int64_t count) { return count > 1; });
}

bool has_held_out_noise(const Config& config, const RunDirectory& run, const RunTable& table) {
  return table.has_noise && !table_directory(config, run, table.name, "test").empty();
}

}  // namespace couplet
