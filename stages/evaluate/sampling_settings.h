// The ways in which an evaluation samples a student.
#pragma once

#include "method/couplings/coupling.h"
#include "method/solvers/integration.h"
#include "pipeline/config/config.h"

#include <string>
#include <vector>

namespace couplet {

/// One way of sampling a student.
struct Sampling {
  Integration integration;
  std::int64_t seed = 0;  ///< of fresh noise
  bool table = false;     ///< from held-out table noise instead

  /// As part of a picture's name.
  std::string file_name() const;
};

/// Every solver with every grid at every NFE it was asked for, then times of the user's own, then dopri5. One step of
/// Euler looks the same on every grid, and a first Heun step is one, so it is made once. From table noise (students
/// whose coupling reads a table): Euler on the first grid. All of one sampling seed come before those of the next.
std::vector<Sampling> samplings(const EvaluateConfig& config, const CouplingKind& coupling);

}  // namespace couplet
