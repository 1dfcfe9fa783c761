#include "method/gaussianisation/gaussian_map.h"

#include <ATen/ATen.h>

namespace couplet {

at::Tensor nats_gained(const at::Tensor& z, const MappedNoise& mapped) {
  const auto half_square = [](const at::Tensor& values) {
    return 0.5 * values.flatten(1).to(at::kDouble).square().sum(1);
  };
  return half_square(z) - half_square(mapped.z) + mapped.log_det;
}

}  // namespace couplet
