// What an image is asked to be, row by row: what a model sees besides the noised image and the time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// The conditions of n rows.
struct Condition {
  at::Tensor labels;  ///< int64 [n], a class each; a model's `no label` where a row has none
  at::Tensor image;   ///< float32 [n, C, H, W] on [-1, 1]; undefined where rows have none
  /// int64 [n], the position of each row in the training run, by which a network draws what it drops; undefined:
  /// nothing is dropped.
  at::Tensor positions = {};

  std::int64_t rows() const { return labels.size(0); }
  Condition to(const at::Device& device) const {
    const auto there = [&](const at::Tensor& tensor) { return tensor.defined() ? tensor.to(device) : tensor; };
    return {labels.to(device), there(image), there(positions)};
  }
  /// The conditions of rows [first, first + count): views.
  Condition narrow(std::int64_t first, std::int64_t count) const {
    const auto part = [&](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.narrow(0, first, count) : tensor;
    };
    return {labels.narrow(0, first, count), part(image), part(positions)};
  }
};

}  // namespace couplet
