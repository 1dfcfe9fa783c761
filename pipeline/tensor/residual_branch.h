// One half of a transformer layer: what it adds to the stream of tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// x + gate · f(n), n = layer_norm(x) · factor + offset, f a linear layer, attention or GELU, and another linear layer;
/// x [N, T, C].
struct ResidualBranch {
  double eps = 1e-5;                ///< of the norm
  at::Tensor factor, offset;        ///< [C], or [N, C]
  at::Tensor in_weight, in_bias;    ///< [M, C], [M]; attention: M = 3 C, queries, keys and values
  at::Tensor out_weight, out_bias;  ///< [C, C] or, behind GELU, [C, M]; [C]
  at::Tensor gate;                  ///< [N, C]; undefined: 1
  at::Tensor mask;                  ///< [N, T, C] that f's values are multiplied by; undefined: 1
};

/// at::gelu's forms.
enum class Gelu { erf, tanh };

/// Differentiable, twice too, and under autocast its products run in autocast's type. On a CPU, where x is float32,
/// each is one operation with a backward pass of its own: it keeps less and passes over memory less often than the
/// plain operations, which are what it computes elsewhere, with a mask, and within TwiceDifferentiable.
at::Tensor with_attention(const at::Tensor& x, const ResidualBranch& branch, std::int64_t heads, bool causal);
at::Tensor with_mlp(const at::Tensor& x, const ResidualBranch& branch, Gelu gelu);

}  // namespace couplet
