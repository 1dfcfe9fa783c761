#include "pipeline/tensor/device_memory.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <new>
#include <string_view>

namespace couplet {

RowBytes measure_rows(DeviceMemory& memory, std::int64_t most, const std::function<void(std::int64_t rows)>& work) {
  work(1);
  const std::int64_t one = memory.peak_bytes([&] { work(1); });
  if (most < 2) return {0, one};
  const std::int64_t row = std::max<std::int64_t>(0, memory.peak_bytes([&] { work(2); }) - one);
  return {std::max<std::int64_t>(0, one - row), row};
}

bool is_exhaustion(const std::exception& error) {
  if (dynamic_cast<const MemoryExhausted*>(&error) || dynamic_cast<const std::bad_alloc*>(&error) ||
      dynamic_cast<const c10::OutOfMemoryError*>(&error))
    return true;
  return std::string_view(error.what()).find("DefaultCPUAllocator: can't allocate memory") != std::string_view::npos;
}

std::string words_of(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  return of_torch ? of_torch->what_without_backtrace() : error.what();
}

}  // namespace couplet
