// One of several equal parts of a flat tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// Part number `index` of `count` equal ones.
struct Share {
  std::int64_t index = 0, count = 1;

  bool is_whole() const { return count == 1; }
  /// That part of a flat tensor, whose length `count` divides: a view.
  at::Tensor of(const at::Tensor& flat) const {
    const std::int64_t length = flat.numel() / count;
    return is_whole() ? flat : flat.narrow(0, index * length, length);
  }
};

}  // namespace couplet
