#include "stages/evaluate/solver.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>

namespace couplet {

namespace {

constexpr std::array<std::pair<Solver, std::string_view>, 3> solver_names{
    {{Solver::euler, "euler"}, {Solver::heun, "heun"}, {Solver::heun_full, "heun-full"}}};
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

/// The field with its evaluations counted and its answers checked.
class CountedField {
public:
  explicit CountedField(const VelocityField& field) : field_(field) {}
  at::Tensor operator()(const at::Tensor& x, double t) {
    ++count_;
    at::Tensor velocity = field_(x, t);
    if (velocity.sizes() != x.sizes()) {
      fail("the velocity field answered shape {} for a state of shape {} at t = {}", fmt::join(velocity.sizes(), "x"),
           fmt::join(x.sizes(), "x"), t);
    }
    return velocity.to(x.scalar_type());
  }
  std::int64_t count() const { return count_; }

private:
  const VelocityField& field_;
  std::int64_t count_ = 0;
};

/// Evaluations that a solver makes over a number of steps.
std::int64_t evaluations(Solver solver, std::int64_t steps) {
  switch (solver) {
    case Solver::euler:
      return steps;
    case Solver::heun:
      return 2 * steps - 1;
    case Solver::heun_full:
      return 2 * steps;
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

std::int64_t solver_steps(Solver solver, std::int64_t nfe) {
  const std::string_view name = solver_name(solver);
  const std::int64_t least = evaluations(solver, 1);
  if (nfe < least) refuse("{} cannot make {} evaluations: the least is {}", name, nfe, least);
  if (solver == Solver::euler) return nfe;
  const std::int64_t steps = solver == Solver::heun ? (nfe + 1) / 2 : nfe / 2;
  if (evaluations(solver, steps) != nfe) {
    const std::string_view why = solver == Solver::heun ? "the last of n steps is an Euler step, so NFE = 2n - 1 is odd"
                                                        : "every one of n steps takes two, so NFE = 2n is even";
    refuse("{} cannot make exactly {} evaluations ({}): take {} or {}", name, nfe, why, nfe - 1, nfe + 1);
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

at::Tensor solve_along(const VelocityField& field, const at::Tensor& z, Solver solver,
                       const std::vector<double>& times) {
  const bool ascending = std::adjacent_find(times.begin(), times.end(), std::greater_equal<>()) == times.end();
  if (times.size() < 2 || !ascending || times.front() != 0 || times.back() != 1) {
    refuse("the times of a solver ascend strictly from 0 to 1, not {}", fmt::join(times, ", "));
  }
  const at::NoGradGuard no_grad;
  CountedField velocity(field);
  at::Tensor x = z;
  for (std::size_t i = times.size() - 1; i > 0; --i) {
    const double t = times[i], next = times[i - 1], dt = next - t;
    const at::Tensor first = velocity(x, t);
    const at::Tensor euler = x + first * dt;
    const bool corrected = solver == Solver::heun_full || (solver == Solver::heun && i > 1);
    x = corrected ? x + (first + velocity(euler, next)) * (0.5 * dt) : euler;
  }
  const std::int64_t expected = evaluations(solver, static_cast<std::int64_t>(times.size()) - 1);
  if (velocity.count() != expected) {
    fail("{} made {} evaluations of the field instead of {}", solver_name(solver), velocity.count(), expected);
  }
  return x;
}

at::Tensor solve(const VelocityField& field, const at::Tensor& z, Solver solver, Grid grid, std::int64_t nfe) {
  std::int64_t made = 0;
  const VelocityField counted = [&](const at::Tensor& x, double t) {
    ++made;
    return field(x, t);
  };
  at::Tensor x = solve_along(counted, z, solver, time_grid(grid, solver_steps(solver, nfe)));
  if (made != nfe)
    fail("{} made {} evaluations of the field instead of the {} asked for", solver_name(solver), made, nfe);
  return x;
}

at::Tensor path_curvature(const VelocityField& field, const at::Tensor& z, std::int64_t steps) {
  if (z.dim() < 2) fail("curvature is taken over rows of values, not over a tensor of {} dimensions", z.dim());
  const at::NoGradGuard no_grad;
  const std::vector<double> times = time_grid(Grid::uniform, steps);
  CountedField velocity(field);
  at::Tensor x = z;
  at::Tensor mean = at::zeros_like(z, at::TensorOptions().dtype(at::kDouble));
  at::Tensor squares = at::zeros({z.size(0)}, mean.options());  // Σ over steps and values of squared deviations
  for (std::size_t i = times.size() - 1; i > 0; --i) {
    const at::Tensor v = velocity(x, times[i]);
    const double seen = static_cast<double>(velocity.count());
    const at::Tensor exact = v.to(at::kDouble);
    const at::Tensor before = exact - mean;
    mean = mean + before / seen;
    squares = squares + (before * (exact - mean)).flatten(1).sum(1);
    x = x + v * (times[i - 1] - times[i]);
  }
  const double values = static_cast<double>(z.numel() / std::max<std::int64_t>(z.size(0), 1));
  return (squares / (static_cast<double>(steps) * values)).cpu();
}

}  // namespace couplet
