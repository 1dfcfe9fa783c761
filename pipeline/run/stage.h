// What a stage is given, and the record it leaves: which stages there are, what each depends on, when its result may be
// reused.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/run/run_directory.h"

#include <c10/core/Device.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// One node of the graph: a stage instance. "student/nf-0" is the student of coupling nf and seed 0.
struct StageNode {
  std::string name;      ///< also its directory under the run: prepare, features, teacher, coupling, student/nf-0,
                         ///< evaluate/nf-0, report
  std::string kind;      ///< prepare, features, teacher, couple, student, evaluate, report
  std::string coupling;  ///< students and their evaluations; "" for evaluate/teacher
  std::int64_t seed = 0;
  std::vector<std::string> inputs;  ///< names of nodes
};

/// The graph of a configuration in an order in which it can run: prepare, features, teacher, couple, evaluate/teacher,
/// then a student and its evaluation for each seed and coupling, then report. The stage names on the command line
/// ("couple", "student") select all nodes of that kind or one by name.
std::vector<StageNode> stage_graph(const Config& config);

/// The result keys a node depends on itself (not through its inputs), "teacher.channels" → "128".
std::map<std::string, std::string> stage_keys(const StageNode& node, const Config& config);
/// Hash of the node's keys and its inputs' fingerprints.
std::string fingerprint(const StageNode& node, const std::vector<StageNode>& graph, const Config& config);

/// Everything a stage function works with.
struct StageContext {
  const StageNode& node;
  const Config& config;
  const RunDirectory& run;
  Communicator& communicator;
  c10::Device device;
  std::string fingerprint;
  std::filesystem::path directory() const { return run.stage(node.name); }
};

}  // namespace couplet
