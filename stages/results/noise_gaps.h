// What was measured of the noise of coupling tables, a table and split each.
#pragma once

#include "stages/results/scores.h"

#include <map>
#include <string>
#include <vector>

namespace couplet {

struct NoiseGap {
  std::string run;        ///< as ScoreRecord's
  std::string table;      ///< its name
  std::string split;      ///< "train", "test"
  bool is_shown = false;  ///< where one split is: the held-out rows, of a table without any the training rows
  std::map<std::string, ScoreRecord> figures = {};  ///< by metric

  /// Null where it was not measured.
  const ScoreRecord* find(const std::string& metric) const;
  /// The figure that shows how much less likely held-out rows are than training rows, in nats a row: of the table's own
  /// model or, where it has none, of N(0, I). Null where it is not clear that they are (`Overfitting::is_clear`).
  const ScoreRecord* overfitting() const;
};

/// In the order of their records: a table's held-out rows, then its training rows.
std::vector<NoiseGap> noise_gaps(const Scores& scores);

}  // namespace couplet
