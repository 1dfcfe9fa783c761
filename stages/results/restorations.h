// How well models restore held-out images, a row each model and setting: the table of super-resolution.
#pragma once

#include "stages/results/scores.h"

#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// A column: a metric of docs/metrics.md, and what the table calls it.
struct RestorationColumn {
  std::string metric, title;
};

struct Restoration {
  std::string model;    ///< "held-out images", "enlarged low resolution", "fm-ot"; with the run's name where several
  std::string setting;  ///< of a student: "euler, uniform, NFE 4"
  std::vector<std::optional<ScoreSummary>> figures;  ///< a column each
};

struct Restorations {
  std::vector<RestorationColumn> columns;  ///< those of which there is a figure
  std::vector<Restoration> rows;           ///< the images themselves and their low resolution first; empty: none
};

Restorations restorations(const Scores& scores);
/// A figure as the table shows it: "26.41", "0.000123".
std::string restoration_text(const ScoreSummary& figure);

}  // namespace couplet
