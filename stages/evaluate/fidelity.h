// How straight a student's paths are and how well it keeps the pairs it was trained on (NFM, arXiv 2603.09014).
#pragma once

#include "method/data/condition.h"
#include "method/data/dataset.h"
#include "method/sampling/guided_field.h"
#include "pipeline/run/stage_graph.h"
#include "stages/evaluate/evaluation.h"
#include "stages/evaluate/score_requests.h"
#include "stages/results/score_record.h"
#include "storage/tables/row_table.h"

namespace couplet {

// Each makes the records of one request (skipping those of its figures that are there), and is collective; the digits
// are the same on any number of ranks.

/// "curvature", "straightness" and "transport_cost" of Euler paths from fresh noise; the picture of the first paths.
void measure_paths(Evaluation& evaluation, const ScoreRequest& request);
/// "pairing_distance_ratio", "pairing_nearest_rate", "psnr" and "ssim" on rows of one split of a table.
void measure_pairing(Evaluation& evaluation, const ScoreRequest& request);
/// "teacher_distance": mean ‖student(z) - teacher⁻¹(z)‖ on fresh z, images on [-1, 1], the teacher's sample without
/// the noise that it is trained on.
void measure_teacher_distance(Evaluation& evaluation, const ScoreRequest& request);

}  // namespace couplet
