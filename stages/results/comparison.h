// Which student wins, by how much, at which number of evaluations, how sure.
#pragma once

#include "stages/results/scores.h"

#include <cstdint>
#include <map>
#include <vector>

namespace couplet {

/// Two curves changing places between two numbers of evaluations that both were scored at.
struct Crossing {
  std::int64_t before = 0, after = 0;
  double at = 0;  ///< where straight lines between the scores meet on logarithmic axes
};

/// A student beside another one, both from fresh noise.
struct Comparison {
  const ScoreCurve* curve = nullptr;     ///< of the scores that were compared
  const ScoreCurve* baseline = nullptr;  ///< likewise
  std::map<std::int64_t, double>
      ratio;  ///< by NFE: baseline's Fréchet distance over the student's; above 1 the student is better
  std::map<std::int64_t, bool> clear;  ///< by NFE: the difference exceeds the measured spread (false also where none
                                       ///< was measured)
  std::vector<Crossing> crossings;
  std::int64_t seeds = 0;           ///< of training: the fewest that any of the compared scores has
  std::int64_t sampling_seeds = 0;  ///< likewise

  /// The NFE at which the student is better, worse, and at which the difference lies within the spread.
  std::vector<std::int64_t> won() const;
  std::vector<std::int64_t> lost() const;
  std::vector<std::int64_t> unclear() const;
  /// The NFE of the largest ratio; 0 without any.
  std::int64_t best() const;
  /// True if both score the same at every NFE compared.
  bool level() const { return !ratio.empty() && won().empty() && lost().empty(); }
};

/// In each run every student against the first one that was scored at the NFE, which is of independent pairs where
/// there is such a student, at equal temperature, and equal guidance and EMA rate where it has them; then the students
/// of later runs against the same one of the first run. Those with an NFE in common; they point into `scores`.
std::vector<Comparison> compare(const Scores& scores);
/// One curve against another.
Comparison compare(const ScoreCurve& curve, const ScoreCurve& baseline);

}  // namespace couplet
