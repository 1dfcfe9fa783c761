#include "pipeline/distributed/measured_memory.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/process/host.h"
#include "storage/host_name.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <mutex>

namespace couplet {
namespace {

/// Follows the CPU allocator of the threads that have it as their debug information.
class CpuMeter : public c10::MemoryReportingInfoBase {
public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
    const std::scoped_lock lock(mutex_);
    live_ += bytes;
    peak_ = std::max(peak_, live_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t peak() const { return peak_; }

private:
  std::mutex mutex_;
  std::int64_t live_ = 0, peak_ = 0;
};

class HostMemory : public DeviceMemory {
public:
  explicit HostMemory(std::int64_t processes) : processes_(processes) {}
  bool is_host() const override { return true; }
  std::int64_t peak_bytes(const std::function<void()>& work) override {
    const auto meter = std::make_shared<CpuMeter>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, meter);
    work();
    return meter->peak();
  }
  std::optional<std::int64_t> available() override {
    std::optional<std::int64_t> available;
    if (const auto host = available_host_memory()) available = *host / processes_;
    if (const auto own = available_address_space()) available = std::min(*own, available.value_or(*own));
    return available;
  }

private:
  std::int64_t processes_;
};

class GpuMemory : public DeviceMemory {
  static constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  auto allocated() const { return allocator_->getDeviceStats(number_).allocated_bytes[all]; }

public:
  GpuMemory(c10::Device device, std::int64_t processes)
      : number_(device.index()), processes_(processes), allocator_(c10::getDeviceAllocator(device.type())) {}
  bool is_host() const override { return false; }
  std::int64_t peak_bytes(const std::function<void()>& work) override {
    allocator_->resetPeakStats(number_);
    const std::int64_t before = allocated().current;
    work();
    return allocated().peak - before;
  }
  std::optional<std::int64_t> available() override {
    const std::int64_t cached = allocator_->getDeviceStats(number_).reserved_bytes[all].current - allocated().current;
    return static_cast<std::int64_t>(allocator_->getMemoryInfo(number_).first) / processes_ + cached;
  }

private:
  c10::DeviceIndex number_;
  std::int64_t processes_;
  c10::DeviceAllocator* allocator_;
};

/// The number of ranks that share this host's memory. Collective.
std::int64_t ranks_on_host(Communicator& communicator) {
  const std::string own = host_name();
  return std::ranges::count(communicator.gather_text(own), own);
}

}  // namespace

std::unique_ptr<DeviceMemory> measured_memory(c10::Device device, std::int64_t processes) {
  if (device.is_cpu()) return std::make_unique<HostMemory>(processes);
  return std::make_unique<GpuMemory>(device, processes);
}

std::unique_ptr<DeviceMemory> measured_memory(c10::Device device, Communicator& communicator) {
  const std::int64_t ranks = ranks_on_host(communicator);
  if (device.is_cpu()) return measured_memory(device, ranks);
  const std::int64_t gpus = std::max(1, find_cuda().devices);
  return measured_memory(device, (ranks + gpus - 1) / gpus);
}

}  // namespace couplet
