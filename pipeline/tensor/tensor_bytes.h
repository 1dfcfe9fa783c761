// The bytes of a tensor, as storage reads and writes them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>

namespace couplet {

/// The bytes of a contiguous tensor on the CPU, row-major.
inline std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}
/// The same, to be written to.
inline std::span<std::byte> writable_bytes(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

}  // namespace couplet
