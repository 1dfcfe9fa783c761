// Floating-point operations of matrix products: what models cost, held against what the machine computes.
#pragma once

#include <cstdint>
#include <string>

namespace couplet {

/// Of a product [rows, inner] · [inner, columns]: 2 a multiply-add.
double product_flops(std::int64_t rows, std::int64_t inner, std::int64_t columns);
/// Of a transformer layer for one image: query, key, value and output products, attention over all pairs of tokens
/// (a causal mask saves none), an MLP with `hidden` channels.
double transformer_layer_flops(std::int64_t tokens, std::int64_t channels, std::int64_t hidden);

/// A training image costs so many forward passes: the backward pass has two products for each of the forward's, one
/// for the gradient of the weights and one for that of the inputs.
constexpr double forward_passes_a_training_image = 3;

/// "56 GFLOP": three digits at most before the unit.
std::string flops_text(double flops);

/// A training run's.
struct TrainingFlops {
  double per_image = 0;    ///< forward and backward; 0: unknown
  double matmul_peak = 0;  ///< a second, of all ranks together (measure_matmul_peak)

  /// "56 GFLOP/s (31 % of the matmul peak)" at so many images a second.
  std::string rate_text(double images_a_second) const;
};

}  // namespace couplet
