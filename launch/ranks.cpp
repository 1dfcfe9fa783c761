#include "launch/ranks.h"

#include "pipeline/cuda_library.h"
#include "pipeline/device.h"

#include <algorithm>
#include <thread>

namespace couplet {

std::int64_t usable_cores() {
  return std::max<std::int64_t>(1, std::thread::hardware_concurrency());
}

std::int64_t resolve_ranks(const PipelineConfig& pipeline) {
  if (pipeline.ranks > 0) return pipeline.ranks;
  if (resolve_device(pipeline.device) == "cuda") return std::max(1, find_cuda().devices);
  return std::min<std::int64_t>(2, usable_cores());
}

std::int64_t resolve_threads(const PipelineConfig& pipeline, std::int64_t local_ranks) {
  if (pipeline.threads > 0) return pipeline.threads;
  return std::max<std::int64_t>(1, usable_cores() / local_ranks);
}

}  // namespace couplet
