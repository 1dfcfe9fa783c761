// The floating-point operations of matrix products: what models cost, and what the machine computes.
#pragma once

#include <cstdint>
#include <string>

namespace couplet {

/// Those of a product [rows, inner] · [inner, columns]; a multiply-add counts as 2.
double product_flops(std::int64_t rows, std::int64_t inner, std::int64_t columns);
/// Those of a transformer layer for one image: query, key, value and output products, attention over all pairs of
/// tokens (a causal mask saves none), and an MLP with `hidden` channels.
double transformer_layer_flops(std::int64_t tokens, std::int64_t channels, std::int64_t hidden);

/// How many forward passes a training image costs. The backward pass has two products for each of the forward's, one
/// for the gradient of the weights and one for that of the inputs.
constexpr double forward_passes_a_training_image = 3;

/// "56 GFLOP", with at most three digits before the unit.
std::string flops_text(double flops);

/// Those of a training run.
struct TrainingFlops {
  double per_image = 0;    ///< forward and backward; 0: unknown
  double matmul_peak = 0;  ///< of all ranks together, a second (measure_matmul_peak)

  /// "56 GFLOP/s (31 % of the matmul peak)", at a number of images a second.
  std::string rate_text(double images_a_second) const;
};

}  // namespace couplet
