// What a stage is given.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_graph.h"

#include <c10/core/Device.h>

#include <filesystem>
#include <string>

namespace couplet {

/// A run as its files and its configuration have it.
struct RunView {
  const Config& config;
  const RunDirectory& run;
  const StageGraph& graph;
};

/// Everything a stage function works with.
struct StageContext {
  const StageNode& node;
  const StageGraph& graph;
  const Config& config;
  const RunDirectory& run;
  Communicator& communicator;
  c10::Device device;

  std::filesystem::path directory() const { return run.stage(node.name); }
  RunView view() const { return {config, run, graph}; }
};

}  // namespace couplet
