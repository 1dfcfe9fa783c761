// How much tensor memory a piece of code needs at most.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>
#include <memory>

namespace couplet {

/// While it lives, counts what this thread allocates and frees on the CPU.
class MemoryPeak {
public:
  /// The largest sum of bytes that were there at once, above what there was at construction.
  std::int64_t bytes() const { return counter_->peak; }

private:
  struct Counter final : c10::MemoryReportingInfoBase {
    std::int64_t now = 0, peak = 0;
    void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
      now += size;
      peak = std::max(peak, now);
    }
    bool memoryProfilingEnabled() const override { return true; }
  };
  std::shared_ptr<Counter> counter_ = std::make_shared<Counter>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, counter_};
};

}  // namespace couplet
