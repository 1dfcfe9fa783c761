#include "stages/evaluate/paths.h"

#include "stages/evaluate/counted_field.h"
#include "stages/evaluate/solver.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace couplet {

PathShape path_shape(const VelocityField& field, const at::Tensor& z, std::int64_t steps) {
  if (z.dim() < 2) fail("the shape of paths is taken over rows of values, not over a tensor of {} dimensions", z.dim());
  const at::NoGradGuard no_grad;
  const std::vector<double> times = time_grid(Grid::uniform, steps);
  CountedField velocity(field);
  at::Tensor x = z;
  at::Tensor mean = at::zeros_like(z, at::TensorOptions().dtype(at::kDouble));
  at::Tensor squares = at::zeros({z.size(0)}, mean.options());  // Σ over steps and values of squared deviations
  at::Tensor length = at::zeros_like(squares);                  // Σ over steps of ‖v‖
  for (std::size_t i = times.size() - 1; i > 0; --i) {
    const at::Tensor v = velocity(x, times[i]);
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
  return {(squares / (count * values)).cpu(), ratio.cpu(), way.square().cpu()};
}

}  // namespace couplet
