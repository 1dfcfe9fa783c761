#include "method/solvers/integration.h"

#include <fmt/ranges.h>

namespace couplet {

std::string Integration::name() const {
  return adaptive() ? "dopri5" : std::string(solver_name(solver));
}

std::int64_t Integration::nfe() const {
  return adaptive() ? 0 : solver_evaluations(solver, static_cast<std::int64_t>(times.size()) - 1);
}

std::string Integration::text() const {
  if (adaptive()) return fmt::format("dopri5 atol {} rtol {}", tolerance.absolute, tolerance.relative);
  return fmt::format("{} {} NFE {}", name(), grid, nfe());
}

Integration fixed_integration(Solver solver, Grid grid, std::int64_t nfe) {
  return {solver, std::string(grid_name(grid)), time_grid(grid, solver_steps(solver, nfe)), {}};
}

Integration timed_integration(Solver solver, const std::vector<double>& times) {
  require_times(times);
  return {solver, fmt::format("{}", fmt::join(times, " ")), times, {}};
}

Integration adaptive_integration(const Tolerance& tolerance) {
  return {Solver::euler, "", {}, tolerance};
}

Integrated integrate(const VelocityField& field, const at::Tensor& z, const Integration& integration) {
  if (!integration.adaptive()) return {solve_along(field, z, integration.solver, integration.times), integration.nfe()};
  const AdaptiveSolution solution = solve_adaptively(field, z, 1, 0, integration.tolerance);
  return {solution.x, solution.nfe};
}

}  // namespace couplet
