// One attempt at a stage: who owns it, what it finds and what it leaves in the stage's record.
#pragma once

#include "pipeline/run/stage_context.h"

#include <c10/core/Device.h>

#include <functional>
#include <string>

namespace couplet {

/// What every rank of this process works with.
struct Session {
  RunView view;
  Communicator& communicator;
  c10::Device device;
};

/// Runs a node to its published result, unless it is complete. Every rank holds the stage's lock until its end, so that
/// nobody begins the stage while a rank of a killed attempt is left. Collective.
void attempt_stage(const Session& session, const StageNode& node);

/// What a job makes of a coupling table beside other jobs on the same directory.
struct TablePart {
  std::string name;                                 ///< of its log: "coupling-nf-0-63"
  std::function<void(StageContext& context)> make;  ///< none: the table is only closed
};

/// Makes a part of the table that `node` fills, and closes the table if it was the last. The stage's lock is held at
/// the beginning and the end only, the lock on its parts all the time. Collective.
void attempt_part(const Session& session, const StageNode& node, const TablePart& part);

}  // namespace couplet
