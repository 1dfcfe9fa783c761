// A way of going along a field from noise to data: a solver with its times, or dopri5 with its tolerance.
#pragma once

#include "method/solvers/dopri5.h"
#include "method/solvers/fixed_step.h"
#include "method/solvers/stochastic.h"

#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct Integration {
  Solver solver = Solver::euler;
  std::string grid;           ///< of a fixed solver: a grid's name, or the times themselves ("0 0.2 1")
  std::vector<double> times;  ///< of a fixed solver: ascending from 0 to 1; empty: dopri5
  Tolerance tolerance;        ///< of dopri5
  std::optional<StochasticSolver> stochastic = {};  ///< in place of `solver`

  bool adaptive() const { return times.empty(); }
  /// "heun", "dopri5"
  std::string name() const;
  /// Evaluations a sample; 0 for dopri5, which tells afterwards.
  std::int64_t nfe() const;
  /// "heun uniform NFE 7", "dopri5 atol 1e-05 rtol 1e-05": for people.
  std::string text() const;
};

/// `solver` on a grid, at exactly `nfe` evaluations; others are refused (`solver_steps`).
Integration fixed_integration(Solver solver, Grid grid, std::int64_t nfe);
/// `solver` along times of the user's own.
Integration timed_integration(Solver solver, const std::vector<double>& times);
Integration adaptive_integration(const Tolerance& tolerance);
/// Those of a stochastic solver.
Integration stochastic_integration(StochasticSolver solver, Grid grid, std::int64_t nfe);
Integration timed_integration(StochasticSolver solver, const std::vector<double>& times);

struct Integrated {
  at::Tensor x;
  std::int64_t nfe = 0;  ///< evaluations made, of the batch
};

/// The state at t = 0 of the paths that start in `z` at t = 1. A stochastic solver needs `along`.
Integrated integrate(const VelocityField& field, const at::Tensor& z, const Integration& integration,
                     const NoisyPath& along = {});

}  // namespace couplet
