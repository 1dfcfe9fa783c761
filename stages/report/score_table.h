// The table of scores that a run ends with on the terminal.
#pragma once

#include "stages/results/scores.h"

#include <string>

namespace couplet {

/// Rows are students, those from held-out table z, ratios to the baseline, class accuracy; columns are NFE, each cell
/// the best of the solvers and grids scored there. Below stand teacher, held-out images, crossing, prior mismatch,
/// curvature, pairing fidelity. Parts that are not there (an unfinished run) are left out.
std::string score_table(const Scores& scores);

/// "Eu", "Hs": the letters under which a cell names its solver and grid.
std::string setting_letters(const ScoreSummary& score);

}  // namespace couplet
