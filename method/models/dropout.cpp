#include "method/models/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <span>

namespace couplet {

at::Tensor DropoutDraws::mask(const at::Tensor& values, const at::Tensor& positions) const {
  const std::int64_t rows = values.size(0), size = values.numel() / rows;
  const at::Tensor mask = at::empty(values.sizes(), at::kFloat);
  const at::Tensor places = positions.to(at::kCPU);
  const auto* place = places.const_data_ptr<std::int64_t>();
  auto* out = mask.data_ptr<float>();
  const float kept = static_cast<float>(1 / (1 - probability));
  const auto dropped = static_cast<float>(probability);
  at::parallel_for(0, rows, 1, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t row = first; row < end; ++row) {
      const std::span<float> of_row(out + row * size, static_cast<std::size_t>(size));
      fill_uniform(of_row, seed, purpose, static_cast<std::uint64_t>(place[row] * most_parts + part));
      for (float& value : of_row) value = value < dropped ? 0 : kept;
    }
  });
  return mask.to(values.options());
}

at::Tensor DropoutDraws::mask_if_any(const at::Tensor& values, const at::Tensor& positions) const {
  const bool drops = probability > 0 && positions.defined() && positions.numel() > 0;
  return drops ? mask(values, positions) : at::Tensor();
}

at::Tensor DropoutDraws::applied(const at::Tensor& values, const at::Tensor& positions) const {
  const at::Tensor drawn = mask_if_any(values, positions);
  return drawn.defined() ? values * drawn : values;
}

}  // namespace couplet
