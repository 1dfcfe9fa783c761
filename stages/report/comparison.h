// Which coupling wins, by how much, at which number of evaluations, how sure.
#pragma once

#include "stages/report/scores.h"

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

/// A coupling beside the baseline, both from fresh noise.
struct Comparison {
  std::string coupling, baseline;
  std::map<std::int64_t, double>
      ratio;  ///< by NFE: baseline's Fréchet distance over the coupling's; above 1 the coupling is better
  std::map<std::int64_t, bool>
      clear;  ///< by NFE: the difference exceeds the seeds' spread (false also where there is one seed)
  std::vector<Crossing> crossings;
  std::int64_t seeds = 0;  ///< the fewest that any of the compared scores has

  /// "The curves cross between NFE 4 and 8 (near 5.3)." or that they do not.
  std::string crossing_text() const;
  /// One or two sentences: who is better where, the largest advantage with both scores, and over how many seeds.
  std::string sentence(const Scores& scores) const;
};

/// Every coupling against "independent", or, where that was not scored, against the first; those with an NFE in common.
std::vector<Comparison> compare(const Scores& scores);

}  // namespace couplet
