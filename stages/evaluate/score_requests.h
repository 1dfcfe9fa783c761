// Which scores an evaluation is asked for: what it works through, and what tells whether it is complete.
#pragma once

#include "pipeline/run/stage_context.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/results/score_record.h"

#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// How a score is made.
enum class Measurement {
  real_images,     ///< held-out images, scored like samples
  reconstruction,  ///< what the autoencoder of latents makes of held-out images, scored likewise
  upsampling,      ///< the enlarged low resolution of held-out images, scored likewise
  samples,         ///< of a student or of the teacher
  paths,           ///< curvature, straightness and transport cost
  pairing,         ///< of a student with the rows of a table
  teacher_distance,
  solver_error,  ///< of dopri5 at a tolerance
  likelihood,
  prior_gap,  ///< of a table's noise from N(0, I)
  noise_test  ///< of the same, by a classifier
};

struct ScoreRequest {
  Measurement measurement = Measurement::samples;
  ScoreKey key;
  MadeWith with;
  std::string last_metric;                  ///< whose record is the last one made: with it the score is there
  std::optional<SamplingSetting> sampling;  ///< of a student's samples

  bool is_in(const Records& records) const { return records.has(key, last_metric, with); }
};

/// All that the configuration asks of an evaluation's node, in the order in which it is made.
std::vector<ScoreRequest> score_requests(const StageNode& node, const RunView& view);
/// Those of which there is no record.
std::vector<ScoreRequest> missing_scores(const StageNode& node, const RunView& view);

}  // namespace couplet
