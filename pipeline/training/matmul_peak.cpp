#include "pipeline/training/matmul_peak.h"

#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/transformer_ops.h"
#include "storage/clock.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double seconds_a_size = 0.12;

void wait_for(c10::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

/// The best rate among some runs of products [size, size] · [size, size].
double fastest(std::int64_t size, at::ScalarType type, c10::Device device) {
  const int products = device.is_cpu() ? 1 : 10;  // a GPU is only waited for after a run
  // Not all the same values: a GPU multiplies equal ones with less power, and faster.
  const at::Tensor values = at::linspace(-1, 1, size * size, at::TensorOptions().device(device)).to(type);
  const at::Tensor x = values.view({size, size}), weight = values.flip({0}).view({size, size});
  const at::Tensor bias = at::zeros({size}, x.options());
  double best = 0, elapsed = 0;
  linear(x, weight, bias);  // prepares kernels and memory
  wait_for(device);
  while (elapsed < seconds_a_size) {
    const auto start = Clock::now();
    for (int i = 0; i < products; ++i) linear(x, weight, bias);
    wait_for(device);
    const double seconds = seconds_since(start);
    best = std::max(best, products * product_flops(size, size, size) / seconds);
    elapsed += seconds;
  }
  return best;
}

}  // namespace

double measure_matmul_peak(const std::string& precision, c10::Device device, Communicator& communicator) {
  const at::NoGradGuard no_grad;
  const at::ScalarType type = precision == "bfloat16" ? at::kBFloat16 : at::kFloat;
  communicator.barrier();  // ranks that share memory and caches are to do so here too
  double best = 0;
  for (const std::int64_t size :
       device.is_cpu() ? std::array<std::int64_t, 2>{512, 1024} : std::array<std::int64_t, 2>{4096, 8192})
    best = std::max(best, fastest(size, type, device));
  at::Tensor sum = at::full({1}, best, at::kDouble);
  communicator.all_reduce(sum);
  return sum.item<double>();
}

}  // namespace couplet
