// Passes over the tokens of one image for what transformers do between matrix products, each over all of its values
// once.
#pragma once

#include "pipeline/tensor/bfloat16.h"

#include <cstdint>

namespace couplet {

/// The values of one image's tokens: [tokens, channels].
struct TokenLayout {
  std::int64_t tokens = 0, channels = 0;

  std::int64_t values() const { return tokens * channels; }
};

// T is float or Bfloat16: of that type what matrix products take and give lies in memory. All is computed in float.
// Vectors of one value a channel are [channels], of one a token [tokens].

/// y = (x - mean) · inverse · factor + offset; inverse = 1 / √(variance + eps) of a token's values.
template <class T>
void norm_tokens(const float* x, const TokenLayout& layout, double eps, const float* factor, const float* offset,
                 float* mean, float* inverse, T* y);
/// x_slope = slope + the gradient of x by way of y; and the gradients of factor and offset.
template <class T>
void norm_gradient(const float* x, const TokenLayout& layout, const float* factor, const float* mean,
                   const float* inverse, const T* y_slope, const float* slope, float* x_slope, float* factor_slope,
                   float* offset_slope);

/// out = x + gate · y. Without a gate (null) it is 1.
template <class T>
void add_gated(const float* x, const TokenLayout& layout, const float* gate, const T* y, float* out);
/// From out's gradient: those of y and, where there is a gate, of the gate.
template <class T>
void gate_gradient(const float* slope, const TokenLayout& layout, const float* gate, const T* y, T* y_slope,
                   float* gate_slope);

/// The form of GELU by tanh (at::gelu's "tanh"), in less time than at::gelu's.
template <class T>
void gelu_tanh(const T* x, std::int64_t count, T* y);
/// Turns y's gradient into x's, in place, and gives y once more.
template <class T>
void gelu_tanh_gradient(const T* x, std::int64_t count, T* slope, T* y);

/// The sum over the tokens of each channel.
template <class T>
void token_sums(const T* x, const TokenLayout& layout, float* sum);

/// Softmax of `scale` times scores [tokens, tokens], a row each token, in place; causal: of row i only the first i + 1.
template <class T>
void softmax_scores(T* scores, std::int64_t tokens, float scale, bool causal);
/// Turns the softmax's gradient into the scores', in place.
template <class T>
void softmax_gradient(const T* softmax, std::int64_t tokens, float scale, T* slope);

}  // namespace couplet
