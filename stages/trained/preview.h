// Pictures of a model's samples while it trains, and a quick score of them.
#pragma once

#include "method/data/dataset.h"
#include "method/sampling/initial_noise.h"
#include "method/scoring/scorer.h"
#include "pipeline/run/stage_context.h"
#include "pipeline/training/task.h"
#include "storage/formats/picture.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace couplet {

/// Samples in the picture of a preview.
inline constexpr std::int64_t previewed_samples = 80;
/// The slices in which ranks make a preview: of samples that are scored, and of a picture alone.
inline constexpr std::int64_t scored_slice_rows = 125, pictured_slice_rows = 20;
/// Evaluations of a student's network for a sample of its previews.
inline constexpr std::int64_t preview_nfe = 4;

/// Images, as models see them, of noise and its condition on the CPU: float [n, C, H, W].
using SampleMaker = std::function<at::Tensor(const InitialNoise& initial)>;

/// Starts every time from the noise of the first of evaluate.sampling-seeds, with which evaluations score. The ranks
/// share the work; the figures are the same on any number of ranks.
class Previewer {
public:
  /// `sample` makes the images of the model as it stands. Where students are given a low resolution, it is that of
  /// held-out images, and stands beside each sample and its image.
  Previewer(const StageContext& context, const DatasetShape& shape, const PreviewConfig& config, SampleMaker sample);
  /// Gives a task its previews. They hold a reference to this object.
  void give_to(TrainingTask& task);
  /// A grid of the first `previewed_samples`, ten a row. Where so configured and the run's features stage is complete
  /// by now, "quick_frechet_distance" and "quick_class_accuracy" of all, and "quick_nonfinite_samples" if there are
  /// any; says once why there are none. Collective.
  Preview make();

private:
  void prepare_scores();
  void say_once(const std::string& why);
  at::Tensor pictures();
  InitialNoise initial_noise(std::int64_t first, std::int64_t count) const;
  Picture picture(const at::Tensor& made) const;

  const StageContext& context_;
  DatasetShape shape_;
  std::optional<RowTable> held_out_;  ///< images whose low resolution is restored; none: students are given none
  PreviewConfig config_;
  SampleMaker sample_;
  std::uint64_t seed_;
  std::optional<Scorer> scorer_;
  std::string said_;
};

}  // namespace couplet
