// How straight a student's paths are and how well it keeps the pairs it was trained on (method.md §1).
#pragma once

#include "method/data/dataset.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/run/stage_context.h"
#include "stages/results/score_record.h"
#include "storage/tables/row_table.h"

#include <functional>

namespace couplet {

/// A student's field for rows of these labels (int64 [n], on the model's device).
using VelocityOf = std::function<VelocityField(const at::Tensor& labels)>;

/// What these measurements share. Each keeps its records (skipping those already there) and is collective; the digits
/// are the same on any number of ranks.
struct FidelityTask {
  StageContext& context;
  const RowTable& train;
  const RowTable& test;
  const DatasetShape& shape;
  VelocityOf velocity;
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
