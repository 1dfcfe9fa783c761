// The finding: what a stranger looks for first.
#pragma once

#include "stages/results/comparison.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace couplet {

/// Where another curve stands beside the winner's.
struct Rival {
  const ScoreCurve* curve = nullptr;
  bool level = false;                 ///< it scores the same as the winner
  std::vector<std::int64_t> best_at;  ///< the NFE at which it is the best
};

struct Verdict {
  const ScoreCurve* winner = nullptr;  ///< nothing where no two students were scored at the same NFE
  std::vector<std::int64_t> best_at;   ///< the NFE at which the winner is the best
  std::size_t compared = 0;            ///< the number of NFE at which two students were scored
  std::vector<Rival> rivals;           ///< the others that are the best somewhere, or level with the winner
  Comparison against;                  ///< the winner beside one other; without a curve where there is no winner
  const ScoreCurve* alone = nullptr;   ///< where there is no winner: the best that was scored
};

/// The winner has the lowest Fréchet distance from fresh noise at most of the NFE at which students can be compared; of
/// two with as many, at the lowest NFE. It is set against the first student of its run (of independent pairs where
/// there is one) or, where it is that one itself, against the next best that does not score the same.
Verdict find_verdict(const Scores& scores);

}  // namespace couplet
