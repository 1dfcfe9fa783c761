// What the tolerance of dopri5 costs and what it brings.
#pragma once

#include "method/solvers/integration.h"
#include "stages/evaluate/evaluation.h"
#include "stages/evaluate/score_requests.h"

#include <vector>

namespace couplet {

/// What samples of dopri5 are compared with: the same noise along fixed steps, so fine that what is left of their own
/// error lies far below that of any tolerance.
Integration reference_integration();

/// "solver_error" of each request, at its own tolerance: root mean square over values and samples of the difference to
/// the reference, in the units of images as models see them. The requests are of one field and one noise. Collective;
/// the same digits on any number of ranks.
void measure_solver_errors(Evaluation& evaluation, const std::vector<ScoreRequest>& requests);

}  // namespace couplet
