// A run directory as commands find it: its configuration, and the graph that follows from it.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_context.h"
#include "stages/external_inputs.h"
#include "stages/graph.h"

#include <filesystem>

namespace couplet {

struct OpenedRun {
  RunDirectory directory;
  Config config;
  StageGraph graph;

  RunView view() const { return {config, directory, graph}; }
};

/// Refuses a folder that is no run directory, and one of an earlier form. By one process.
OpenedRun open_run(const std::filesystem::path& root);
/// Refuses a folder without a config.ini, and a run directory of an earlier form.
void require_run_directory(const RunDirectory& run);

/// Refuses the run directory that an earlier program made: its one coupling table lies in RUN/coupling itself, and its
/// configuration lists student.couplings. A folder that is no run directory yet is none of these.
void refuse_earlier_form(const RunDirectory& run);

}  // namespace couplet
