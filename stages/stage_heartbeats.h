// Which of the files in RUN/log and RUN/log/ranks belong to a stage, and what its ranks have left there.
#pragma once

#include "pipeline/process/end_note.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_graph.h"

#include <optional>
#include <string>

namespace couplet {

/// True if a log of this name, or heartbeats of this name, are the stage's: it is the stage's flat name, or that with
/// the numbers of a part of the coupling table (coupling-nf-3, coupling-nf-0-63).
bool is_name_of(const std::string& name, const StageNode& node);
/// The same for heartbeats alone, which may also bear the name of the stage's kind.
bool is_heartbeat_name_of(const std::string& name, const StageNode& node);

/// The failure that ended the last attempt at a stage, or at a part of it; nothing if none did. A failure that is older
/// than the stage's record is one of an attempt before.
std::optional<RankFailure> last_failure(const RunDirectory& run, const StageNode& node);
/// Units of work that the ranks at work on a stage make a second, over all jobs that make parts of it, as they note it
/// themselves; 0 if none does.
double noted_rate(const RunDirectory& run, const StageNode& node);

}  // namespace couplet
