// The couplings of a run, each judged by some of its pairs, and what it took to make them.
#pragma once

#include "pipeline/run/stage_context.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct JudgedCoupling {
  std::string coupling;                 ///< its name
  std::string student = {};             ///< the one that drew the pairs; empty: they are rows of the coupling's table
  nlohmann::ordered_json quality = {};  ///< method/statistics/coupling_quality.h
  std::optional<double> seconds = {};   ///< to make its table
  std::optional<double> rate = {};      ///< rows of its table that were made a second
  std::optional<double> teacher_seconds = {};  ///< to train the teacher that the table needs
};

/// Every finished training table of a run, by evenly spread rows, and for couplings without one what the first seed of
/// each of their students has drawn. What cannot be read is left out. A table takes a few seconds.
std::vector<JudgedCoupling> judge_couplings(const RunView& view);

}  // namespace couplet
