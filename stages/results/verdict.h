// The finding in a few words: what a stranger looks for first.
#pragma once

#include "stages/results/comparison.h"

#include <string>

namespace couplet {

struct Verdict {
  const ScoreCurve* winner = nullptr;  ///< nothing where no two couplings were scored at the same NFE
  const ScoreCurve* other = nullptr;   ///< what it is set against
  std::string where;                   ///< "best at NFE 1, 2 and 4 of 5"
  std::string others;  ///< "independent is best at NFE 8 and 31", "soft: nf scores the same"; empty if nobody else is
  std::string margin;  ///< "4.62×"; "level" where the other scores the same
  std::string margin_text;  ///< "lower Fréchet distance than independent at NFE 1: 41.2 against 191"
  std::string confidence;   ///< as Comparison's
};

/// The winner has the lowest Fréchet distance from fresh noise at most of the NFE at which couplings can be compared;
/// of two with as many, at the lowest NFE. It is set against "independent" (the first coupling of its run) or, where it
/// is that one itself, against the next best that does not score the same.
Verdict find_verdict(const Scores& scores);

}  // namespace couplet
