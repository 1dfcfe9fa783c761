// The ways in which an evaluation samples a student.
#pragma once

#include "pipeline/config.h"
#include "stages/evaluate/solver.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// One way of sampling a student.
struct Sampling {
  Solver solver = Solver::euler;
  Grid grid = Grid::uniform;
  std::int64_t nfe = 1;
  bool table = false;  ///< from held-out table noise
};

/// Every solver with every grid at every NFE it was asked for. One step looks the same on every grid and with both
/// solvers, so it is made once. From table noise (students of coupling "nf"): Euler on the first grid.
std::vector<Sampling> samplings(const EvaluateConfig& config, const std::string& coupling);

}  // namespace couplet
