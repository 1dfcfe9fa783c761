// Computations over rows whose digits do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

namespace couplet {

/// The results [count, ...] of work(first, count) over n rows, joined: on the CPU over chunks of at most `chunk` rows,
/// each on one thread (each_on_one_thread); elsewhere over all rows at once.
at::Tensor by_row_chunks(std::int64_t n, c10::Device device,
                         const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& work,
                         std::int64_t chunk = 16);

}  // namespace couplet
