// How far the noise of a coupling table is from N(0, I), from which its students are sampled: before there are any.
#pragma once

#include "stages/evaluate/evaluation.h"
#include "stages/evaluate/score_requests.h"

namespace couplet {

// Each makes the records of one request, and is collective; the digits are the same on any number of ranks.

/// Log-densities, norms and moments of the noise, nats that simple models of it gain, on held-out and on training rows,
/// and how these differ. A teacher that is overfitted is named.
void measure_prior_gap(Evaluation& evaluation, const ScoreRequest& request);
/// "noise_auc" and "noise_log_ratio": how well the table's classifier tells held-out noise from fresh noise of the same
/// labels.
void test_noise(Evaluation& evaluation, const ScoreRequest& request);

}  // namespace couplet
