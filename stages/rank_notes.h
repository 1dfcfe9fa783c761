// Which of the files in RUN/log and RUN/log/ranks belong to a stage, and what they say of it.
#pragma once

#include "pipeline/process/end_note.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_graph.h"

#include <optional>
#include <string>

namespace couplet {

/// Whether `name` is what a stage's log or the notes of its ranks are called: the stage's flat name, or that with the
/// numbers of a part of the coupling table (coupling-3, coupling-0-63).
bool is_name_of(const std::string& name, const StageNode& node);
/// The same for the notes of its ranks, which may bear the name of its kind, too.
bool is_board_of(const std::string& board, const StageNode& node);

/// The failure that ended the last attempt at a stage, or at a part of it; nothing if none did. A failure that is older
/// than the stage's record is one of an attempt before.
std::optional<RankFailure> last_failure(const RunDirectory& run, const StageNode& node);
/// Units of work a second that the ranks at work on a stage note, over all jobs that make parts of it; 0: none does.
double noted_rate(const RunDirectory& run, const StageNode& node);

}  // namespace couplet
