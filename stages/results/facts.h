// What is said about a run's scores besides the curves, one line a fact.
#pragma once

#include "stages/results/scores.h"

#include <string>
#include <vector>

namespace couplet {

struct Fact {
  std::string name;
  std::string text;
};

/// Teacher (as sampled and denoised), real split, prior mismatch (equal solver and grid on both sides), curvature,
/// straightness, transport cost, pairing fidelity of training and test rows, distance from the teacher, likelihood,
/// class accuracy, samples and records that are not finite; those that there are.
std::vector<Fact> score_facts(const Scores& scores);

}  // namespace couplet
