#include "pipeline/tensor/row_chunks.h"

#include "pipeline/tensor/one_thread.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace couplet {

at::Tensor by_row_chunks(std::int64_t n, c10::Device device,
                         const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& work,
                         std::int64_t chunk) {
  const std::int64_t most = device.is_cpu() ? chunk : std::max<std::int64_t>(n, 1);
  std::vector<at::Tensor> parts(static_cast<std::size_t>(std::max<std::int64_t>((n + most - 1) / most, 1)));
  each_on_one_thread(std::ssize(parts), device, [&](std::int64_t i) {
    parts[static_cast<std::size_t>(i)] = work(i * most, std::min(most, n - i * most));
  });
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

}  // namespace couplet
