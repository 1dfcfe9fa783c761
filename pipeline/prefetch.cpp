#include "pipeline/prefetch.h"

#include <ATen/Parallel.h>

#include <dlfcn.h>

namespace couplet {

void use_this_thread_only() {
  at::get_num_threads();  // LibTorch sets a thread's count on first use: let it, then set ours
  // OpenMP's count belongs to the thread. The runtime is LibTorch's own copy, so it is looked up rather than linked.
  using SetThreads = void (*)(int);
  if (const auto set_threads = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads")))
    set_threads(1);
}

}  // namespace couplet
