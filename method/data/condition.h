// What an image is asked to be, row by row: what a model sees besides the noised image and the time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// The conditions of n rows.
struct Condition {
  at::Tensor labels;  ///< int64 [n], a class each; a model's `no label` where a row has none
  at::Tensor image;   ///< float32 [n, C, H, W] on [-1, 1]; undefined where rows have none

  std::int64_t rows() const { return labels.size(0); }
  Condition to(const at::Device& device) const {
    return {labels.to(device), image.defined() ? image.to(device) : at::Tensor()};
  }
  /// The conditions of rows [first, first + count): views.
  Condition narrow(std::int64_t first, std::int64_t count) const {
    return {labels.narrow(0, first, count), image.defined() ? image.narrow(0, first, count) : at::Tensor()};
  }
};

}  // namespace couplet
