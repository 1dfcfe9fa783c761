// A stand-in for a GPU's memory on a machine that has none.
#pragma once

#include "pipeline/distributed/measured_memory.h"
#include "pipeline/tensor/device_memory.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace couplet {

/// So many bytes are there and none of them is the host's; tensors are counted as they come to lie on the CPU.
class LimitedMemory : public DeviceMemory {
public:
  explicit LimitedMemory(std::int64_t bytes) : bytes_(bytes), counted_(measured_memory(c10::Device(c10::kCPU), 1)) {}
  bool is_host() const override { return false; }
  std::int64_t peak_bytes(const std::function<void()>& work) override {
    ++measured;
    return counted_->peak_bytes(work);
  }
  std::optional<std::int64_t> available() override { return bytes_; }

  int measured = 0;  ///< calls of peak_bytes

private:
  std::int64_t bytes_;
  std::unique_ptr<DeviceMemory> counted_;
};

/// What LibTorch throws where a GPU has no more memory.
[[noreturn]] inline void run_out_of_memory() {
  TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate 2.00 GiB.");
  throw std::bad_alloc();  // not reached; the macro hides that it throws
}

}  // namespace couplet
