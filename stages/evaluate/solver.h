// Integration of a velocity field from noise (t = 1) to data (t = 0), with every evaluation counted.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// dx/dt at (x, t): a tensor of x's shape (converted to x's type where a network answers in another). x is [rows, ...];
/// t is the same for all rows.
using VelocityField = std::function<at::Tensor(const at::Tensor& x, double t)>;

enum class Solver {
  euler,     ///< "euler": n steps of one evaluation each, NFE = n
  heun,      ///< "heun": n steps of which the last, into t = 0, is an Euler step, NFE = 2n - 1 (method.md §1)
  heun_full  ///< "heun-full": n Heun steps throughout, NFE = 2n; its last evaluation is at t = 0
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

/// The number of steps with which `solver` makes exactly `nfe` evaluations. Refuses an NFE that it cannot spend
/// exactly, naming the nearest ones that it can.
std::int64_t solver_steps(Solver solver, std::int64_t nfe);
/// t_0 = 0 < ... < t_n = 1, n + 1 values for n steps; solvers walk them from the last to the first.
std::vector<double> time_grid(Grid grid, std::int64_t steps);

/// The state at t = 0 of the path that starts in `z` at t = 1. `z` itself is not changed. Arithmetic in z's type, no
/// gradients. Makes exactly `nfe` evaluations of `field`: they are counted, and a different count is an error.
at::Tensor solve(const VelocityField& field, const at::Tensor& z, Solver solver, Grid grid, std::int64_t nfe);
/// The same along any times, ascending from 0 to 1 (at least two), for solvers chosen by steps instead of evaluations.
at::Tensor solve_along(const VelocityField& field, const at::Tensor& z, Solver solver,
                       const std::vector<double>& times);

/// Curvature of each row's own sampled path (Euler, uniform grid, `steps` evaluations):
///   κ = mean over values of ∫₀¹ (v(x_t, t) - (x_1 - x_0))² dt,  x_1 = z, x_0 the sample.
/// On the path x_1 - x_0 is the mean velocity, so κ is the variance of the velocity over the steps; it is computed
/// while walking, by Welford's update in float64 (no difference of large squares), and no velocity is stored. Returns
/// float64 [rows] on the CPU: κ of a set of samples is the mean over its rows, which the caller sums in an order of its
/// own.
at::Tensor path_curvature(const VelocityField& field, const at::Tensor& z, std::int64_t steps = 128);

}  // namespace couplet
