#include "method/solvers/fixed_step.h"

#include "method/solvers/velocity_field.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace couplet {

namespace {

constexpr std::array<std::pair<Solver, std::string_view>, 5> solver_names{{{Solver::euler, "euler"},
                                                                           {Solver::midpoint, "midpoint"},
                                                                           {Solver::heun, "heun"},
                                                                           {Solver::heun_full, "heun-full"},
                                                                           {Solver::rk4, "rk4"}}};
constexpr std::array<std::pair<Grid, std::string_view>, 2> grid_names{
    {{Grid::uniform, "uniform"}, {Grid::squared, "squared"}}};

template <class Value, std::size_t n>
std::string_view name_of(const std::array<std::pair<Value, std::string_view>, n>& names, Value value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  fail("no name for value {} of an enumeration", static_cast<int>(value));
}

template <class Value, std::size_t n>
Value parse(const std::array<std::pair<Value, std::string_view>, n>& names, std::string_view what,
            std::string_view text) {
  std::string known;
  for (const auto& [value, name] : names) {
    if (name == text) return value;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
  }
  refuse("no {} '{}'; there are: {}", what, text, known);
}

/// Evaluations that a solver makes in a step.
std::int64_t evaluations_a_step(Solver solver) {
  switch (solver) {
    case Solver::euler:
      return 1;
    case Solver::midpoint:
    case Solver::heun:
    case Solver::heun_full:
      return 2;
    case Solver::rk4:
      return 4;
  }
  fail("unknown solver {}", static_cast<int>(solver));
}

/// Why a solver cannot make just any number of evaluations.
std::string_view counts_of(Solver solver) {
  switch (solver) {
    case Solver::heun:
      return "the last of n steps is an Euler step, so NFE = 2n - 1 is odd";
    case Solver::rk4:
      return "every one of n steps takes four, so NFE = 4n";
    default:
      return "every one of n steps takes two, so NFE = 2n is even";
  }
}

/// x at `next` of the path through (x, t), to the order of the solver. `span`: that of the first evaluation.
at::Tensor step(CountedField& velocity, Solver solver, const at::Tensor& x, double t, double next, double span) {
  const double dt = next - t, middle = t + 0.5 * dt;
  const at::Tensor first = velocity(x, t, span);
  switch (solver) {
    case Solver::euler:
      return x + first * dt;
    case Solver::midpoint:
      return x + velocity(x + first * (0.5 * dt), middle) * dt;
    case Solver::heun:
    case Solver::heun_full:
      return x + (first + velocity(x + first * dt, next)) * (0.5 * dt);
    case Solver::rk4: {
      const at::Tensor second = velocity(x + first * (0.5 * dt), middle);
      const at::Tensor third = velocity(x + second * (0.5 * dt), middle);
      const at::Tensor fourth = velocity(x + third * dt, next);
      return x + (first + (second + third) * 2 + fourth) * (dt / 6);
    }
  }
  fail("unknown solver {}", static_cast<int>(solver));
}

}  // namespace

std::string_view solver_name(Solver solver) {
  return name_of(solver_names, solver);
}
std::string_view grid_name(Grid grid) {
  return name_of(grid_names, grid);
}
Solver parse_solver(std::string_view name) {
  return parse(solver_names, "solver", name);
}
Grid parse_grid(std::string_view name) {
  return parse(grid_names, "time grid", name);
}

std::int64_t solver_evaluations(Solver solver, std::int64_t steps) {
  return evaluations_a_step(solver) * steps - (solver == Solver::heun ? 1 : 0);
}

std::int64_t solver_steps(Solver solver, std::int64_t nfe) {
  const std::string_view name = solver_name(solver);
  const std::int64_t least = solver_evaluations(solver, 1);
  if (nfe < least) refuse("{} cannot make {} evaluations: the least is {}", name, nfe, least);
  const std::int64_t steps = (nfe + (solver == Solver::heun ? 1 : 0)) / evaluations_a_step(solver);
  const std::int64_t below = solver_evaluations(solver, steps);
  if (below != nfe) {
    refuse("{} cannot make exactly {} evaluations ({}): take {} or {}", name, nfe, counts_of(solver), below,
           solver_evaluations(solver, steps + 1));
  }
  return steps;
}

std::vector<double> time_grid(Grid grid, std::int64_t steps) {
  if (steps < 1) refuse("a time grid needs at least one step, not {}", steps);
  std::vector<double> times;
  for (std::int64_t i = 0; i <= steps; ++i) {
    const double t = static_cast<double>(i) / static_cast<double>(steps);
    times.push_back(grid == Grid::squared ? t * t : t);
  }
  return times;
}

void require_times(const std::vector<double>& times) {
  const bool ascending =
      std::adjacent_find(times.begin(), times.end(), [](double a, double b) { return !(a < b); }) == times.end();
  if (times.size() < 2 || !ascending || times.front() != 0 || times.back() != 1) {
    refuse("the times of a solver ascend strictly from 0 to 1, not {}", fmt::join(times, ", "));
  }
}

at::Tensor solve_along(const VelocityField& field, const at::Tensor& z, Solver solver,
                       const std::vector<double>& times) {
  require_times(times);
  const at::NoGradGuard no_grad;
  CountedField velocity(field);
  at::Tensor x = z;
  for (std::size_t i = times.size() - 1; i > 0; --i) {
    const bool last_of_heun = solver == Solver::heun && i == 1;
    const double span = solver == Solver::euler ? times[i] - times[i - 1] : 0;
    x = step(velocity, last_of_heun ? Solver::euler : solver, x, times[i], times[i - 1], span);
  }
  const std::int64_t expected = solver_evaluations(solver, static_cast<std::int64_t>(times.size()) - 1);
  if (velocity.count() != expected) {
    fail("{} made {} evaluations of the field instead of {}", solver_name(solver), velocity.count(), expected);
  }
  return x;
}

at::Tensor solve(const VelocityField& field, const at::Tensor& z, Solver solver, Grid grid, std::int64_t nfe) {
  std::int64_t made = 0;
  const VelocityField counted = [&](const at::Tensor& x, double t, double span) {
    ++made;
    return field(x, t, span);
  };
  at::Tensor x = solve_along(counted, z, solver, time_grid(grid, solver_steps(solver, nfe)));
  if (made != nfe)
    fail("{} made {} evaluations of the field instead of the {} asked for", solver_name(solver), made, nfe);
  return x;
}

}  // namespace couplet
