// TarFlow, the teacher: an autoregressive normalizing flow over image patches (Zhai et al., arXiv 2412.06329).
// Parameter names are those of the reference (apple/ml-tarflow, transformer_flow.py), so that published weights load.
#pragma once

#include "method/models/dropout.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

struct TarFlowOptions {
  std::int64_t in_channels = 1;
  std::int64_t image_size = 28;
  std::int64_t patch = 4;
  std::int64_t channels = 128;
  std::int64_t blocks = 4;
  std::vector<std::int64_t> layers = {2};  ///< attention layers of each block; one number: of every block
  std::int64_t head_size = 64;
  std::int64_t num_classes = 0;  ///< 0: unconditional
  bool nvp = true;  ///< false: the volume-preserving variant, without scale and with a learnt prior variance
  double clip_scale = 0, clip_shift = 0;  ///< bounds of a and of b (TarFlowBlock); 0: none
  double dropout = 0;      ///< probability that a layer's attention or MLP drops a value that it adds, in training
  bool recompute = false;  ///< layers are computed again in the backward pass instead of kept
  std::string section = "teacher";  ///< what messages call the keys by

  std::int64_t tokens() const { return (image_size / patch) * (image_size / patch); }
  std::int64_t token_size() const { return in_channels * patch * patch; }
  std::int64_t layers_of(std::int64_t block) const {
    return layers.size() == 1 ? layers.front() : layers[static_cast<std::size_t>(block)];
  }
  /// Of all blocks together, and of the one that has most.
  std::int64_t all_layers() const;
  std::int64_t most_layers() const { return *std::ranges::max_element(layers); }
};

/// Refuses sizes that do not fit together, naming the configuration keys.
void check(const TarFlowOptions& options);
/// Floating-point operations of the matrix products in one image's forward pass.
double forward_flops(const TarFlowOptions& options);
/// Trained numbers of such a model, without making one.
std::int64_t parameter_count(const TarFlowOptions& options);

struct TarFlowSampling {
  double guidance = 0;               ///< g in a + g (a - a_unconditional), the same for b, both within bounds; 0: none
  bool annealed = false;             ///< guidance grows with the token: g (i + 1) / (T - 1)
  double attention_temperature = 1;  ///< of the unconditional branch
};

struct TarFlowOutput {
  at::Tensor z;       ///< [N, T, D]: as it leaves the last block (not divided by √var)
  at::Tensor logdet;  ///< [N]: log |det ∂z/∂x| a value, i.e. divided by T·D
};

/// One causal pre-norm transformer layer.
class TarFlowLayerImpl : public torch::nn::Module {
public:
  /// `dropout`: of what its attention adds; the MLP has the part behind it.
  TarFlowLayerImpl(std::int64_t channels, std::int64_t head_size, const DropoutDraws& dropout = {});
  /// [N, T, channels] to the same. Rows without `positions` drop nothing.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& positions = {});

  std::int64_t heads;
  DropoutDraws attention_dropout, mlp_dropout;
  torch::nn::LayerNorm attention_norm{nullptr}, mlp_norm{nullptr};
  torch::nn::Linear qkv{nullptr}, proj{nullptr}, mlp_in{nullptr}, mlp_out{nullptr};
};
TORCH_MODULE(TarFlowLayer);

/// One autoregressive affine map of the sequence: z_i = (x_i - b(x_<i)) exp(-a(x_<i)).
class TarFlowBlockImpl : public torch::nn::Module {
public:
  /// `backwards`: the sequence is read from its last token to its first. `dropout`: of its first layer, each having two
  /// parts.
  TarFlowBlockImpl(const TarFlowOptions& options, std::int64_t layers, bool backwards,
                   const DropoutDraws& dropout = {});
  /// Does what TarFlow::forward does, from and to tokens [N, T, D].
  TarFlowOutput forward(const at::Tensor& tokens, const at::Tensor& y, const at::Tensor& positions = {});
  /// What the map takes of (a, b), on the last axis as `proj_out` gives them (vp: b): each within its bound c, c tanh(a
  /// / c). A bounded a keeps one block from stretching noise by more than exp(c).
  at::Tensor bounded(const at::Tensor& affine) const;
  /// Class embedding of each row [N, channels]; of a row without label (y < 0, or y undefined: [1, channels]) the mean
  /// over classes. Undefined for an unconditional model.
  at::Tensor label_rows(const at::Tensor& y) const;

  bool nvp, recompute, backwards;
  double clip_scale, clip_shift;
  torch::nn::Linear proj_in{nullptr}, proj_out{nullptr};
  at::Tensor pos_embed;    ///< [T, channels], by place in the image (not in reading order)
  at::Tensor class_embed;  ///< [classes, 1, channels], or undefined
  std::vector<TarFlowLayer> layers;
};
TORCH_MODULE(TarFlowBlock);

class TarFlowImpl : public torch::nn::Module {
public:
  /// `seed`: of dropout's draws.
  explicit TarFlowImpl(const TarFlowOptions& options, std::uint64_t seed = 0);

  /// x: images [N, C, H, W]. y: int64 [N], negative where the label is dropped; undefined: no labels at all.
  /// `positions`: int64 [N], those of the rows in the training run, by which layers drop; undefined: nothing is
  /// dropped.
  TarFlowOutput forward(const at::Tensor& x, const at::Tensor& y = {}, const at::Tensor& positions = {});
  /// What each of the first blocks makes of the images on the way to their noise, [N, C, H, W] each; behind the last
  /// block it is `forward`'s z.
  std::vector<at::Tensor> states(const at::Tensor& x, const at::Tensor& y, std::int64_t first_blocks);
  /// The training loss of the reference, nats a value without constants: ½ mean(z²) - mean(logdet). For vp, too, it
  /// does not see `var`.
  at::Tensor loss(const TarFlowOutput& output) const;
  /// [N]: the negative log-likelihood of each row in nats a value, constants included:
  /// ½ mean(z²/var + ln var) + ½ ln 2π - logdet. (For nvp, var = 1.) Bits/dim on [-1, 1] images: this / ln 2 + 7.
  at::Tensor negative_log_likelihood(const TarFlowOutput& output) const;
  /// z/√var: unit variance under the model's prior; what `reverse` takes, and what couplings store.
  at::Tensor standardised(const at::Tensor& z) const;
  /// The prior of vp after a step: var ← 0.9 var + 0.1 `mean_square`, the mean of z² [T, D] over the global batch.
  /// (The reference gathers √ of each rank's mean and averages its squares over ranks: the same figure.) No-op for nvp.
  void update_prior(const at::Tensor& mean_square);

  /// Images [N, C, H, W] of standard normal z [N, T, D]: token by token, with one preallocated key/value cache a layer.
  /// Records no gradients. Under autocast, matrix products run in the autocast type.
  at::Tensor reverse(const at::Tensor& z, const at::Tensor& y = {}, const TarFlowSampling& sampling = {});

  const TarFlowOptions& options() const { return options_; }
  std::vector<TarFlowBlock>& blocks() { return blocks_; }

private:
  TarFlowOptions options_;
  std::vector<TarFlowBlock> blocks_;
  at::Tensor var_;  ///< [T, D]
};
TORCH_MODULE(TarFlow);

/// A model with the reference's initial weights, a function of options and seed. Seeds torch's global generator.
TarFlow make_tarflow(const TarFlowOptions& options, std::uint64_t seed);

/// The weights as apple/ml-tarflow's Model loads them, strictly: with the causal mask [T, T] that it keeps in each
/// block. That model bounds neither a nor b.
NamedTensors export_tarflow(const NamedTensors& tensors, const TarFlowOptions& options);

/// TarFlow's last step (arXiv 2412.06329 §3.4): x + η² ∇ log p(x), the gradient of the joint log-density (summed over
/// values) of images with noise of standard deviation η = noise_std on them. Equals the reference's step on its mean
/// loss with rate N·T·D·η² (evaluate_fid.py; there without `var`).
at::Tensor denoise(TarFlow& model, const at::Tensor& x_noisy, const at::Tensor& y, double noise_std);

}  // namespace couplet
