// The memory of the device that tensors are computed on, and what computing rows takes of it.
#pragma once

#include "storage/error.h"

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>

namespace couplet {

/// A device's memory as this process sees it. A test may stand in for it.
class DeviceMemory {
public:
  virtual ~DeviceMemory() = default;
  /// True for a CPU, whose memory holds copies of tensors for files too.
  virtual bool is_host() const = 0;
  /// Returns the bytes at the highest point of `work` beyond those that were taken before.
  virtual std::int64_t peak_bytes(const std::function<void()>& work) = 0;
  /// Returns the bytes that this process can still take where all that share the device take as much; nothing where
  /// that is not known.
  virtual std::optional<std::int64_t> available() = 0;
};

/// The bytes that a computation over rows takes at its highest point.
struct RowBytes {
  std::int64_t fixed = 0;  ///< whatever the number of rows
  std::int64_t row = 0;    ///< for each row computed at once

  std::int64_t of(std::int64_t rows) const { return fixed + rows * row; }
};

/// Measures `work(rows)`, which computes so many rows at once, with one and with two rows; where `most` is 1, all is
/// the one row's. What libraries take at their first call and keep (cuBLAS: its workspaces) is in neither figure, since
/// one more row is computed before.
RowBytes measure_rows(DeviceMemory& memory, std::int64_t most, const std::function<void(std::int64_t rows)>& work);

/// True if `error` says that memory ran out, on the host or on a GPU.
bool is_exhaustion(const std::exception& error);
/// The error's own words, without a backtrace.
std::string words_of(const std::exception& error);

/// Memory ran out; the message says where, and what helps.
class MemoryExhausted : public Error {
public:
  using Error::Error;
};

}  // namespace couplet
