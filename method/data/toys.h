// Distributions over the plane whose densities are known: what a model has learnt of one can be seen and measured.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// One of them: a value of prepare.toy. All lie within [-4.5, 4.5]² but for the tails of their noise.
struct Toy {
  std::string name, help;
  /// Its differential entropy in nats: the least mean negative log-density that a model of it can have.
  double entropy = 0;
  /// Point number `index`: float32 [2] at `out`. A function of the index alone, so that the data set is the same in
  /// every run.
  void (*draw)(std::uint64_t index, float* out) = nullptr;
  /// log p, float64 [n], at points, float64 [n, 2]; -∞ where there are none.
  at::Tensor (*log_density)(const at::Tensor& points) = nullptr;
};

const std::vector<Toy>& toys();
/// An unknown name is refused with the nearest.
const Toy& find_toy(const std::string& name);

/// Points [first, first + count) of the training set, or of the held-out one: float32 [count, 2].
at::Tensor toy_points(const Toy& toy, bool held_out, std::int64_t first, std::int64_t count);

}  // namespace couplet
