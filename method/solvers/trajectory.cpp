#include "method/solvers/trajectory.h"

#include "method/solvers/fixed_step.h"
#include "method/solvers/velocity_field.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace couplet {
namespace {

constexpr std::int64_t most_deviation_times = 32;

/// Steps from one of the deviation's times to the next.
std::int64_t deviation_stride(std::int64_t steps) {
  return (steps + most_deviation_times - 1) / most_deviation_times;
}

}  // namespace

std::vector<double> deviation_times(std::int64_t steps) {
  std::vector<double> times;
  for (std::int64_t step = 0; step < steps; step += deviation_stride(steps))
    times.push_back(static_cast<double>(steps - step) / static_cast<double>(steps));
  return times;
}

PathShape path_shape(const VelocityField& field, const at::Tensor& z, std::int64_t steps) {
  if (z.dim() < 2) fail("the shape of paths is taken over rows of values, not over a tensor of {} dimensions", z.dim());
  const at::NoGradGuard no_grad;
  const std::vector<double> times = time_grid(Grid::uniform, steps);
  CountedField velocity(field);
  at::Tensor x = z;
  at::Tensor mean = at::zeros_like(z, at::TensorOptions().dtype(at::kDouble));
  at::Tensor squares = at::zeros({z.size(0)}, mean.options());  // Σ over steps and values of squared deviations
  at::Tensor length = at::zeros_like(squares);                  // Σ over steps of ‖v‖
  std::vector<at::Tensor> kept;
  for (std::size_t i = times.size() - 1; i > 0; --i) {
    const at::Tensor v = velocity(x, times[i]);
    if ((velocity.count() - 1) % deviation_stride(steps) == 0) kept.push_back(v);
    const double seen = static_cast<double>(velocity.count());
    const at::Tensor exact = v.to(at::kDouble);
    const at::Tensor before = exact - mean;
    mean = mean + before / seen;
    squares = squares + (before * (exact - mean)).flatten(1).sum(1);
    length = length + exact.flatten(1).norm(2, 1);
    x = x + v * (times[i - 1] - times[i]);
  }
  const double values = static_cast<double>(z.numel() / std::max<std::int64_t>(z.size(0), 1));
  const double count = static_cast<double>(steps);
  const at::Tensor way = mean.flatten(1).norm(2, 1);
  const at::Tensor ratio = at::where(length.gt(0), way * count / length, at::ones_like(way));
  for (at::Tensor& v : kept) v = (v.to(at::kDouble) - mean).square().flatten(1).mean(1);
  return {(squares / (count * values)).cpu(), ratio.cpu(), way.square().cpu(), at::stack(kept, 1).cpu()};
}

std::vector<at::Tensor> trajectory(const VelocityField& field, const at::Tensor& z, std::int64_t steps,
                                   std::int64_t parts) {
  const at::NoGradGuard no_grad;
  const std::vector<double> times = time_grid(Grid::uniform, steps);
  std::vector<at::Tensor> states = {z};
  at::Tensor x = z;
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto i = static_cast<std::size_t>(steps - step);
    x = x + field(x, times[i + 1]).to(x.scalar_type()) * (times[i] - times[i + 1]);
    // The part whose time, in steps and rounded, this is; of fewer steps than parts some stand for several.
    while (static_cast<std::int64_t>(states.size()) <= parts &&
           std::llround(static_cast<double>(states.size() * static_cast<std::size_t>(steps)) /
                        static_cast<double>(parts)) <= step)
      states.push_back(x);
  }
  return states;
}

}  // namespace couplet
