// Group normalisation together with what U-Nets do right after it, as one operation: each of its passes reads an image
// once, and of values of x's size x alone is kept for the backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

struct GroupNormOptions {
  std::int64_t groups = 32;
  double eps = 1e-5;
  bool silu = false;  ///< SiLU follows
};

/// n = (x - mean) / √(variance + eps) · weight + bias over each group of channels of each image x [N, C, H, W], then
/// n (1 + scale) + shift where these are given, [N, C], then SiLU where it is asked for. Computed in float at least,
/// and given back in x's type and layout. Differentiable twice. A row's digits depend on that row alone.
at::Tensor group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      const GroupNormOptions& options, const at::Tensor& scale = {}, const at::Tensor& shift = {});

}  // namespace couplet
