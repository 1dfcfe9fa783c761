#include "method/solvers/integration.h"

#include <fmt/ranges.h>

#include <iterator>

namespace couplet {

std::string Integration::name() const {
  if (stochastic) return std::string(stochastic_name(*stochastic));
  return adaptive() ? "dopri5" : std::string(solver_name(solver));
}

std::int64_t Integration::nfe() const {
  if (adaptive()) return 0;
  const std::int64_t steps = std::ssize(times) - 1;
  return stochastic ? stochastic_evaluations(*stochastic, steps) : solver_evaluations(solver, steps);
}

std::string Integration::text() const {
  if (adaptive()) return fmt::format("dopri5 atol {} rtol {}", tolerance.absolute, tolerance.relative);
  return fmt::format("{} {} NFE {}", name(), grid, nfe());
}

Integration fixed_integration(Solver solver, Grid grid, std::int64_t nfe) {
  return {solver, std::string(grid_name(grid)), time_grid(grid, solver_steps(solver, nfe)), {}, {}};
}

Integration timed_integration(Solver solver, const std::vector<double>& times) {
  require_times(times);
  return {solver, fmt::format("{}", fmt::join(times, " ")), times, {}, {}};
}

Integration adaptive_integration(const Tolerance& tolerance) {
  return {Solver::euler, "", {}, tolerance, {}};
}

Integration stochastic_integration(StochasticSolver solver, Grid grid, std::int64_t nfe) {
  return {Solver::euler, std::string(grid_name(grid)), time_grid(grid, stochastic_steps(solver, nfe)), {}, solver};
}

Integration timed_integration(StochasticSolver solver, const std::vector<double>& times) {
  Integration integration = timed_integration(Solver::euler, times);
  integration.stochastic = solver;
  return integration;
}

Integrated integrate(const VelocityField& field, const at::Tensor& z, const Integration& integration,
                     const NoisyPath& along) {
  if (integration.stochastic)
    return {solve_stochastically(field, z, *integration.stochastic, integration.times, along), integration.nfe()};
  if (!integration.adaptive()) return {solve_along(field, z, integration.solver, integration.times), integration.nfe()};
  const AdaptiveSolution solution = solve_adaptively(field, z, 1, 0, integration.tolerance);
  return {solution.x, solution.nfe};
}

}  // namespace couplet
