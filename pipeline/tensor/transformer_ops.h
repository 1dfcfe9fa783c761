// The two operations in which transformers spend their time, each by the fastest way there is for the device and type
// at hand. They compute what at::linear and at::scaled_dot_product_attention do, are differentiable, and work under
// autocast.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/linear.h>

namespace couplet {

/// x Wᵀ + b. For float32 on a CPU by oneDNN: the default, MKL, is half as fast on CPUs that are not Intel's
/// (128 to 384 channels, 1568 rows, one Zen 5 core: 112 against 255 GFLOP/s).
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
inline at::Tensor linear(const at::Tensor& x, const torch::nn::Linear& layer) {
  return linear(x, layer->weight, layer->bias);
}

/// While it lives, attention on the calling thread is by operations whose gradients have gradients: the fused kernels
/// have none. Its scores [T, T] are then kept in memory.
class TwiceDifferentiable {
public:
  TwiceDifferentiable();
  ~TwiceDifferentiable();
  TwiceDifferentiable(const TwiceDifferentiable&) = delete;
  TwiceDifferentiable& operator=(const TwiceDifferentiable&) = delete;

private:
  bool before_;
};

/// softmax(q kᵀ / √d) v for q, k, v [N, heads, T, d]; causal: token i sees tokens up to i. On a CPU by plain products,
/// up to 256 tokens: as fast as the fused kernel in float32, three times as exact (that kernel's exponential is a rough
/// one), and five times as fast in bfloat16 (its backward pass is slow there).
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal);

}  // namespace couplet
