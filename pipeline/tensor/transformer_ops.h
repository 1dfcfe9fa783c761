// The two operations in which transformers spend their time, each by the fastest way there is for the device and type
// at hand. They compute what at::linear and at::scaled_dot_product_attention do, are differentiable, and work under
// autocast.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <optional>

namespace couplet {

/// x Wᵀ + b. For float32 on a CPU by oneDNN: the default, MKL, is half as fast on CPUs that are not Intel's
/// (128 to 384 channels, 1568 rows, one Zen 5 core: 112 against 255 GFLOP/s).
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
inline at::Tensor linear(const at::Tensor& x, const torch::nn::Linear& layer) {
  return linear(x, layer->weight, layer->bias);
}

/// For operations that have a backward pass of their own, where no graph is recorded: x Wᵀ + b, and the gradient of W
/// [m, k] from those of the product's rows [n, m] and the rows x [n, k]; by the same means as `linear`.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias = {});
at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& x);

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
bool twice_differentiable_here();

/// Up to so many tokens, attention is by plain products on a CPU: above, its [T, T] scores would need too much memory.
constexpr std::int64_t most_tokens_of_plain_products = 256;

/// softmax(q kᵀ / √d) v for q, k, v [N, heads, T, d]; causal: token i sees tokens up to i. On a CPU by plain products,
/// up to 256 tokens: as fast as the fused kernel in float32, three times as exact (that kernel's exponential is a rough
/// one), and five times as fast in bfloat16 (its backward pass is slow there).
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal);

}  // namespace couplet
