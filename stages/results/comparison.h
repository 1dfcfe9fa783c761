// Which coupling wins, by how much, at which number of evaluations, how sure.
#pragma once

#include "stages/results/scores.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace couplet {

/// Two curves changing places between two numbers of evaluations that both were scored at.
struct Crossing {
  std::int64_t before = 0, after = 0;
  double at = 0;  ///< where straight lines between the scores meet on logarithmic axes
};

/// A coupling beside another one, both from fresh noise.
struct Comparison {
  const ScoreCurve* curve = nullptr;     ///< of the scores that were compared
  const ScoreCurve* baseline = nullptr;  ///< likewise
  std::map<std::int64_t, double>
      ratio;  ///< by NFE: baseline's Fréchet distance over the coupling's; above 1 the coupling is better
  std::map<std::int64_t, bool> clear;  ///< by NFE: the difference exceeds the measured spread (false also where none
                                       ///< was measured)
  std::vector<Crossing> crossings;
  std::int64_t seeds = 0;           ///< of training: the fewest that any of the compared scores has
  std::int64_t sampling_seeds = 0;  ///< likewise

  /// The NFE at which the coupling is better, worse, and at which the difference lies within the spread.
  std::vector<std::int64_t> won() const;
  std::vector<std::int64_t> lost() const;
  std::vector<std::int64_t> unclear() const;
  /// The NFE of the largest ratio; 0 without any.
  std::int64_t best() const;

  /// "The curves cross between NFE 4 and 8 (near 5.3)." or that they do not.
  std::string crossing_text() const;
  /// One or two sentences: who is better where, the largest advantage with both scores, and over how many seeds.
  std::string sentence() const;
  /// How sure the differences are: over how many training and sampling seeds, and which of them lie within the spread.
  std::string confidence() const;
};

/// In each run every coupling against "independent", or, where that was not scored, against the first; then the
/// couplings of later runs against the same one of the first run. Those with an NFE in common; they point into
/// `scores`.
std::vector<Comparison> compare(const Scores& scores);
/// One curve against another.
Comparison compare(const ScoreCurve& curve, const ScoreCurve& baseline);

/// "NFE 1, 2 and 4"
std::string nfe_list(const std::vector<std::int64_t>& counts);

}  // namespace couplet
