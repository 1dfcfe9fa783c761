#include "stages/opened_run.h"

#include "pipeline/config/options.h"
#include "pipeline/run/stage_record.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <sstream>
#include <utility>

namespace couplet {

namespace {

/// A line of the old key in the section [student]; a whole look at the file is the configuration's business.
bool lists_couplings(const std::filesystem::path& ini) {
  if (!std::filesystem::exists(ini)) return false;
  std::istringstream lines(read_file(ini));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("couplings ")) return true;
  return false;
}

}  // namespace

void refuse_earlier_form(const RunDirectory& run) {
  const bool has_one_table = std::filesystem::exists(record_path(run.root() / "coupling"));
  if (!has_one_table && !lists_couplings(run.config())) return;
  refuse(
      "{} is a run directory of an earlier form ({}): go on in it with the Couplet that made it, or start anew in "
      "another --run-dir, with student.compare in place of student.couplings",
      run.root().string(),
      has_one_table ? "its coupling table lies in coupling/, not in coupling/nf/"
                    : "its config.ini sets student.couplings");
}

void require_run_directory(const RunDirectory& run) {
  if (!std::filesystem::exists(run.config()))
    refuse("{} is no run directory: it has no config.ini", run.root().string());
  refuse_earlier_form(run);
}

OpenedRun open_run(const std::filesystem::path& root) {
  RunDirectory run(root);
  require_run_directory(run);
  Config config = resolve_config(run.config(), {});
  StageGraph graph = stage_graph(config, look_at_inputs(config, run));
  return {std::move(run), std::move(config), std::move(graph)};
}

}  // namespace couplet
