// A tensor of a file of weights: its type, its shape, and where its bytes are.
#pragma once

#include "storage/formats/element_type.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace couplet {

/// A tensor's bytes, row-major and little-endian. While writing the caller owns them, after reading the file does.
struct TensorView {
  ElementType type = ElementType::float32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

}  // namespace couplet
