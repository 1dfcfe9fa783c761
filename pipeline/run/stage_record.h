// RUN/<stage>/stage.json: what a stage was made with and whether it is complete. A stage's result counts only while its
// record says so: the record is published when the stage starts, published as complete after everything else, and
// withdrawn before anything is deleted.
#pragma once

#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_graph.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

enum class StageState { started, complete, withdrawn };

struct StageRecord {
  StageState state = StageState::started;
  std::string stage;  ///< name of the node
  std::string fingerprint;
  std::map<std::string, std::string> keys;    ///< the node's own result keys
  std::map<std::string, std::string> inputs;  ///< fingerprint of every input
  std::string program;                        ///< version that last wrote to the stage
  double seconds = 0;                         ///< wall time over all attempts
  std::int64_t attempts = 0;
  std::int64_t ranks = 0;    ///< of the last attempt
  double running_since = 0;  ///< Unix time at which an unfinished attempt began; 0: none is unfinished
};

std::filesystem::path record_path(const std::filesystem::path& stage_directory);
/// The record in a stage's directory; none if the stage never started. A damaged file is an error that names it.
std::optional<StageRecord> read_record(const std::filesystem::path& stage_directory);
void publish_record(const std::filesystem::path& stage_directory, const StageRecord& record);
/// The record of a node that starts now.
StageRecord new_record(const StageNode& node, const StageGraph& graph);

enum class Action { skip, resume, start };
struct Decision {
  Action action = Action::start;
  std::string reason;  ///< one phrase for the user
};

/// What to do with a node, from its record. A record made with other keys or inputs is refused, with each difference
/// and the flag that redoes the stage, unless files have changed of a stage that has made nothing: it starts anew.
/// Files of unknown origin in its directory are refused, too.
Decision decide(const StageNode& node, const StageGraph& graph, const RunDirectory& run);
/// Refuses a node that runs after one which is not complete or was made with another configuration.
void require_inputs(const StageNode& node, const StageGraph& graph, const RunDirectory& run);
/// Empties the directory of a stage that starts anew: all but its lock and record.
void clear_stage(const std::filesystem::path& stage_directory);
/// Withdraws the stage's record, then empties its directory; the record goes last. The caller owns the stage (its
/// lock).
void delete_stage(const StageNode& node, const RunDirectory& run);

}  // namespace couplet
