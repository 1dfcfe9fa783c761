#include "method/data/toys.h"

#include "method/registry.h"
#include "pipeline/tensor/random.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace couplet {
namespace {

using std::numbers::pi;

/// The data set is the same whatever the seed of the run.
Draws toy_draws(std::uint64_t index) {
  return {0, Purpose::toy_point, index};
}

void put(float* out, double x, double y) {
  out[0] = static_cast<float>(x);
  out[1] = static_cast<float>(y);
}

/// log of the mean over centres, float64 [m, 2], of N(x; centre, σ² I).
at::Tensor log_mixture(const at::Tensor& points, const at::Tensor& centres, double sigma) {
  constexpr std::int64_t points_at_once = 512;
  const double normaliser = std::log(2 * pi * sigma * sigma * static_cast<double>(centres.size(0)));
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < points.size(0); first += points_at_once) {
    const at::Tensor some = points.narrow(0, first, std::min(points_at_once, points.size(0) - first));
    const at::Tensor squares = (some.unsqueeze(1) - centres.unsqueeze(0)).square().sum(2);
    parts.push_back(at::logsumexp(squares / (-2 * sigma * sigma), {1}) - normaliser);
  }
  return parts.empty() ? at::empty({0}, at::kDouble) : at::cat(parts);
}

/// The middles of `count` equal parts of [0, 1]: what an integral over it is summed at.
at::Tensor middles(std::int64_t count) {
  return (at::arange(count, at::kDouble) + 0.5) / static_cast<double>(count);
}

// Eight Gaussians of deviation √(1/8) on a circle of radius √8, as FFJORD has them (arXiv 1810.01367, lib/toy_data.py:
// radius 4 and deviation 1/2, over √2).
const double ring_radius = std::sqrt(8.0), ring_sigma = std::sqrt(0.125);

void draw_ring(std::uint64_t index, float* out) {
  Draws draws = toy_draws(index);
  const double angle = static_cast<double>(draws.below(8)) * pi / 4;
  const double x = draws.normal(), y = draws.normal();
  put(out, ring_radius * std::cos(angle) + ring_sigma * x, ring_radius * std::sin(angle) + ring_sigma * y);
}

at::Tensor ring_density(const at::Tensor& points) {
  const at::Tensor angles = at::arange(8, at::kDouble) * (pi / 4);
  return log_mixture(points, at::stack({angles.cos(), angles.sin()}, 1) * ring_radius, ring_sigma);
}

// Two half circles that reach into each other, with Gaussian noise: scikit-learn's moons with noise 0.1, scaled and
// moved as FFJORD does.
constexpr double moon_sigma = 0.2;

void draw_moons(std::uint64_t index, float* out) {
  Draws draws = toy_draws(index);
  const bool upper = draws.below(2) == 0;
  const double angle = pi * draws.uniform(), c = 2 * std::cos(angle), s = 2 * std::sin(angle);
  const double x = draws.normal(), y = draws.normal();
  put(out, (upper ? c - 1 : 1 - c) + moon_sigma * x, (upper ? s - 0.2 : 0.8 - s) + moon_sigma * y);
}

at::Tensor moons_density(const at::Tensor& points) {
  static const at::Tensor centres = [] {
    const at::Tensor angle = middles(512) * pi, c = angle.cos() * 2, s = angle.sin() * 2;
    return at::stack({at::cat({c - 1, 1 - c}), at::cat({s - 0.2, 0.8 - s})}, 1);
  }();
  return log_mixture(points, centres, moon_sigma);
}

// Every second square of side 2 of [-4, 4]², uniformly.
void draw_checkerboard(std::uint64_t index, float* out) {
  Draws draws = toy_draws(index);
  const double column = static_cast<double>(draws.below(4)), row = static_cast<double>(draws.below(2));
  const double x = column + draws.uniform(), shift = std::fmod(column, 2);
  put(out, 2 * x - 4, 2 * (2 * row + shift + draws.uniform()) - 4);
}

at::Tensor checkerboard_density(const at::Tensor& points) {
  const at::Tensor cells = (points / 2).floor().sum(1);
  const at::Tensor is_inside = (points.abs() <= 4).all(1).logical_and(cells.remainder(2) == 0);
  const at::Tensor nowhere = at::full({points.size(0)}, -std::numeric_limits<double>::infinity(), at::kDouble);
  return nowhere.masked_fill(is_inside, -std::log(32.0));
}

// Two arms of three half turns, (φ / 3) (-cos φ, sin φ) and its mirror image through the origin, φ = 3π √u for u
// uniform, with Gaussian noise: FFJORD's, whose further uniform noise is left out.
constexpr double arm_sigma = 0.1;

void draw_spiral(std::uint64_t index, float* out) {
  Draws draws = toy_draws(index);
  const double side = draws.below(2) == 0 ? 1 : -1, angle = 3 * pi * std::sqrt(draws.uniform()), radius = angle / 3;
  const double x = draws.normal(), y = draws.normal();
  put(out, -side * radius * std::cos(angle) + arm_sigma * x, side * radius * std::sin(angle) + arm_sigma * y);
}

at::Tensor spiral_density(const at::Tensor& points) {
  static const at::Tensor centres = [] {
    const at::Tensor angle = middles(1024).sqrt() * (3 * pi);
    const at::Tensor arm = at::stack({-angle.cos(), angle.sin()}, 1) * (angle / 3).unsqueeze(1);
    return at::cat({arm, -arm});
  }();
  return log_mixture(points, centres, arm_sigma);
}

}  // namespace

const std::vector<Toy>& toys() {
  // Entropies by sums of -p log p over grids; that of the checkerboard is log 32.
  static const std::vector<Toy> all{
      {"8gaussians", "eight Gaussians on a circle", 2.831578, draw_ring, ring_density},
      {"moons", "two half moons that reach into each other", 2.393871, draw_moons, moons_density},
      {"checkerboard", "every second square of a board, uniformly", std::log(32.0), draw_checkerboard,
       checkerboard_density},
      {"spiral", "two arms of a spiral", 2.540614, draw_spiral, spiral_density}};
  return all;
}

const Toy& find_toy(const std::string& name) {
  return find_kind(toys(), name, "toy");
}

at::Tensor toy_points(const Toy& toy, bool held_out, std::int64_t first, std::int64_t count) {
  constexpr std::uint64_t held_out_from = std::uint64_t{1} << 62;
  at::Tensor points = at::empty({count, 2}, at::kFloat);
  auto* values = points.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < count; ++i)
    toy.draw((held_out ? held_out_from : 0) + static_cast<std::uint64_t>(first + i), values + 2 * i);
  return points;
}

}  // namespace couplet
