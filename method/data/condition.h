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
  /// float [n], how much earlier than its own a row's time is to which a flow map is asked for the mean velocity
  /// (method/objectives/flow_map.h); undefined: 0, and it is asked for the velocity itself.
  at::Tensor span = {};

  std::int64_t rows() const { return labels.size(0); }
  Condition to(const at::Device& device) const {
    return with_each([&](const at::Tensor& tensor) { return tensor.to(device); });
  }
  /// The conditions of rows [first, first + count): views.
  Condition narrow(std::int64_t first, std::int64_t count) const {
    return with_each([&](const at::Tensor& tensor) { return tensor.narrow(0, first, count); });
  }
  /// Those of the rows at these indices, int64.
  Condition at_rows(const at::Tensor& indices) const {
    return with_each([&](const at::Tensor& tensor) { return tensor.index_select(0, indices); });
  }

private:
  template <class Change>
  Condition with_each(const Change& change) const {
    const auto changed = [&](const at::Tensor& tensor) { return tensor.defined() ? change(tensor) : tensor; };
    return {changed(labels), changed(image), changed(positions), changed(span)};
  }
};

}  // namespace couplet
