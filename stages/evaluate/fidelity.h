// How straight a student's paths are and how well it keeps the pairs it was trained on (method.md §1).
#pragma once

#include "method/data/condition.h"
#include "method/data/dataset.h"
#include "method/sampling/guided_field.h"
#include "pipeline/run/stage.h"
#include "stages/results/score_record.h"
#include "storage/tables/row_table.h"

namespace couplet {

/// What these measurements share. Each keeps its records (skipping those already there) and is collective; the digits
/// are the same on any number of ranks.
struct FidelityTask {
  StageContext& context;
  const RowTable& train;
  const RowTable& test;
  const DatasetShape& shape;
  const StudentFlow& flow;
  Records& records;
};

/// "curvature", "straightness" and "transport_cost" of Euler paths from fresh noise.
void measure_paths(const FidelityTask& task);
/// "pairing_distance_ratio", "pairing_nearest_rate", "psnr" and "ssim" on rows of the training and of the held-out
/// table.
void measure_pairing(const FidelityTask& task);
/// "teacher_distance": mean ‖student(z) - teacher⁻¹(z)‖ on fresh z, images on [-1, 1], the teacher's sample denoised
/// where it is trained on Gaussian noise.
void measure_teacher_distance(const FidelityTask& task);

/// σ_f of the run's table.
double coupling_sigma(const RunDirectory& run);

}  // namespace couplet
