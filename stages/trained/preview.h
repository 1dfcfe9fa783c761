// Pictures of a model's samples while it trains, and a quick score of them.
#pragma once

#include "method/data/dataset.h"
#include "method/sampling/initial_noise.h"
#include "method/scoring/scorer.h"
#include "pipeline/run/stage_context.h"
#include "pipeline/training/task.h"

#include <cstdint>
#include <functional>
#include <optional>

namespace couplet {

/// Samples in the picture of a preview.
inline constexpr std::int64_t previewed_samples = 80;
/// Evaluations of a student's network for a sample of its previews.
inline constexpr std::int64_t preview_nfe = 4;

/// Images, as models see them, of noise and its condition on the CPU: float [n, C, H, W].
using SampleMaker = std::function<at::Tensor(const InitialNoise& initial)>;

/// Starts every time from the same noise, the evaluation's. The ranks share the work; the figures are the same on any
/// number of ranks.
class Previewer {
public:
  /// Scores samples where so configured and the run's features stage is complete; says so where it cannot. Collective.
  Previewer(const StageContext& context, const DatasetShape& shape, const PreviewConfig& config);
  /// A grid of the first `previewed_samples`, ten a row; "quick_frechet_distance" and "quick_class_accuracy" of all,
  /// and "quick_nonfinite_samples" if there are any. Collective.
  Preview make(const SampleMaker& sample);

private:
  void prepare_scores();
  at::Tensor pictures(const SampleMaker& sample);

  const StageContext& context_;
  DatasetShape shape_;
  std::int64_t samples_;
  std::optional<Scorer> scorer_;
};

}  // namespace couplet
