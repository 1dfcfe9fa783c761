#include "pipeline/tensor/row_chunks.h"

#include "pipeline/tensor/fitting_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <ATen/ops/cat.h>

#include <dlfcn.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <vector>

namespace couplet {
namespace {

/// MKL counts threads on its own; a LibTorch without it has no such function. Returns the count before, 0: the
/// process's.
int set_mkl_threads(int count) {
  using Set = int (*)(int);
  static const auto set = reinterpret_cast<Set>(::dlsym(RTLD_DEFAULT, "MKL_Set_Num_Threads_Local"));
  return set ? set(count) : 0;
}

}  // namespace

// LibTorch sets a thread's counts when it is first asked for them: let it, then set ours.
OneThread::OneThread() : threads_(at::get_num_threads()), mkl_threads_(set_mkl_threads(1)) {
  ::omp_set_num_threads(1);
}

OneThread::~OneThread() {
  ::omp_set_num_threads(threads_);
  set_mkl_threads(mkl_threads_);
}

void each_on_one_thread(std::int64_t count, c10::Device device, const std::function<void(std::int64_t)>& work) {
  if (!device.is_cpu()) {
    for (std::int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  const at::ThreadLocalState callers;
  std::exception_ptr error;
  std::atomic<bool> failed = false;
  at::get_num_threads();  // sets this thread's count of threads, where it is its first use of LibTorch
#pragma omp parallel
  {
    const at::ThreadLocalStateGuard as_caller(callers);
    const OneThread one_thread;
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < count; ++i) {
      if (failed) continue;
      try {
        work(i);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

at::Tensor by_row_chunks(std::int64_t n, c10::Device device,
                         const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& work,
                         std::int64_t chunk) {
  if (!device.is_cpu() || FittingRows::current()) return work(0, n);
  std::vector<at::Tensor> parts(static_cast<std::size_t>(std::max<std::int64_t>((n + chunk - 1) / chunk, 1)));
  each_on_one_thread(std::ssize(parts), device, [&](std::int64_t i) {
    parts[static_cast<std::size_t>(i)] = work(i * chunk, std::min(chunk, n - i * chunk));
  });
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

}  // namespace couplet
