// Computations on one thread, or over chunks of rows, whose digits do not depend on the number of threads.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

namespace couplet {

/// While it lives, tensor operations on the calling thread use that thread only, and compute as if there were no
/// others. (at::set_num_threads would set the whole process.)
class OneThread {
public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

private:
  int threads_, mkl_threads_;  ///< the numbers before
};

/// Rows of a chunk, unless told otherwise.
inline constexpr std::int64_t usual_chunk_rows = 16;

/// Calls work(i) for every i in [0, count): on the CPU each call on one thread, as many at once as tensor operations
/// have threads here, with the caller's gradient mode and autocast; elsewhere in turn. LibTorch's operations split sums
/// and the ends of vectors by threads; a call on one thread computes the same bits whatever their number. An error is
/// thrown on when the calls under way have ended.
void each_on_one_thread(std::int64_t count, c10::Device device, const std::function<void(std::int64_t)>& work);

/// The results [count, ...] of work(first, count) over n rows, joined: on the CPU over chunks of at most `chunk` rows,
/// each on one thread (each_on_one_thread); elsewhere, and where a FittingRows divides what is within, over all rows at
/// once.
at::Tensor by_row_chunks(std::int64_t n, c10::Device device,
                         const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& work,
                         std::int64_t chunk = usual_chunk_rows);

}  // namespace couplet
