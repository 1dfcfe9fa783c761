// Integration of a velocity field from noise (t = 1) to data (t = 0), with every evaluation counted.
#pragma once

#include "method/solvers/velocity_field.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

enum class Solver {
  /// "euler": n steps of one evaluation each, NFE = n. It alone takes mean velocities over its steps from a field that
  /// knows its flow map: its steps are then exact.
  euler,
  midpoint,   ///< "midpoint": n steps of two evaluations, the second half-way, NFE = 2n; none is at t = 0
  heun,       ///< "heun": n steps of which the last, into t = 0, is an Euler step, NFE = 2n - 1 (NFM)
  heun_full,  ///< "heun-full": n Heun steps throughout, NFE = 2n; its last evaluation is at t = 0
  rk4         ///< "rk4": n steps of the classical method of fourth order, NFE = 4n; its last evaluation is at t = 0
};
enum class Grid {
  uniform,  ///< "uniform": t_i = i/n
  squared   ///< "squared": t_i = (i/n)^2, finer near the data
};

std::string_view solver_name(Solver solver);
std::string_view grid_name(Grid grid);
/// The inverse of the names; refuses any other text, listing the names there are.
Solver parse_solver(std::string_view name);
Grid parse_grid(std::string_view name);

/// The evaluations that `solver` makes over a number of steps.
std::int64_t solver_evaluations(Solver solver, std::int64_t steps);
/// The number of steps with which `solver` makes exactly `nfe` evaluations. Refuses an NFE that it cannot spend
/// exactly, naming the nearest ones that it can.
std::int64_t solver_steps(Solver solver, std::int64_t nfe);
/// t_0 = 0 < ... < t_n = 1, n + 1 values for n steps; solvers walk them from the last to the first.
std::vector<double> time_grid(Grid grid, std::int64_t steps);
/// Refuses times that do not ascend strictly from 0 to 1, naming them.
void require_times(const std::vector<double>& times);

/// The state at t = 0 of the path that starts in `z` at t = 1. `z` itself is not changed. Arithmetic in z's type, no
/// gradients. Makes exactly `nfe` evaluations of `field`: they are counted, and a different count is an error.
at::Tensor solve(const VelocityField& field, const at::Tensor& z, Solver solver, Grid grid, std::int64_t nfe);
/// Does the same along any times (`require_times`), for solvers chosen by steps instead of evaluations.
at::Tensor solve_along(const VelocityField& field, const at::Tensor& z, Solver solver,
                       const std::vector<double>& times);

}  // namespace couplet
