#include "pipeline/gradients.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

namespace couplet {
namespace {

constexpr std::int64_t alignment = 64;  // bytes: a cache line, and what vector kernels like best

std::int64_t padded_elements(const at::Tensor& tensor) {
  const std::int64_t step = alignment / static_cast<std::int64_t>(tensor.element_size());
  return (tensor.numel() + step - 1) / step * step;
}

}  // namespace

FlatGradients::FlatGradients(const NamedTensors& parameters) : parameters_(parameters) {
  std::map<at::ScalarType, std::int64_t> sizes;
  for (const auto& [name, parameter] : parameters_) {
    if (!parameter.is_contiguous())
      fail("parameter {} is not contiguous: its gradient has no place in the flat buffer", name);
    sizes[parameter.scalar_type()] += padded_elements(parameter);
  }
  for (const auto& [type, size] : sizes) {
    auto& buffer = buffers_.emplace_back(
        at::zeros({size}, parameters_.begin()->second.options().dtype(type).requires_grad(false)));
    std::int64_t first = 0;
    for (auto& [name, parameter] : parameters_) {
      if (parameter.scalar_type() != type) continue;
      parameter.mutable_grad() = buffer.narrow(0, first, parameter.numel()).view(parameter.sizes());
      first += padded_elements(parameter);
    }
  }
}

FlatGradients::~FlatGradients() {
  for (auto& [name, parameter] : parameters_) parameter.mutable_grad() = at::Tensor();
}

void FlatGradients::zero() {
  for (auto& buffer : buffers_) buffer.zero_();
}

void FlatGradients::sum_over_ranks(Communicator& communicator) {
  if (communicator.size() == 1) return;
  for (auto& buffer : buffers_) communicator.all_reduce(buffer);
}

double FlatGradients::norm() const {
  double squares = 0;
  for (const auto& buffer : buffers_) {
    const double norm = at::linalg_vector_norm(buffer, 2, {}, false, at::kDouble).item<double>();
    squares += norm * norm;
  }
  return std::sqrt(squares);
}

}  // namespace couplet
