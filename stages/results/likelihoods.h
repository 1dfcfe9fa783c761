// Likelihoods of held-out images, a model each.
#pragma once

#include "stages/results/scores.h"

#include <string>
#include <vector>

namespace couplet {

struct Likelihood {
  std::string model;   ///< "teacher", "nf", "the data's own density"; with the run's name where there are several
  std::string metric;  ///< "bits_per_dim", "noised_bits_per_dim" of a teacher trained with Gaussian noise, or "nats"
  std::string trace;   ///< of a student: "exact", "Hutchinson, 4 probes"
  ScoreSummary score;

  /// "3.21 ± 0.02", the standard error over images; over several training seeds their standard deviation stands first.
  std::string text() const;
};

/// Teachers and known densities, then students in the order of their records.
std::vector<Likelihood> likelihoods(const Scores& scores);

}  // namespace couplet
