// SiT is a transformer over image patches, which published weights use as the velocity dx/dt of a flow (Ma et al.,
// arXiv 2401.08740; DiT, arXiv 2212.09748). Parameter names are those of the reference (willisma/SiT, models.py). Its
// time is ours: t = 0 is data, t = 1 noise, the velocity points from data to noise; files of the reference's time come
// in through `import_sit`.
#pragma once

#include "method/models/field.h"
#include "method/models/span_embedding.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace couplet {

struct SiTOptions {
  std::int64_t in_channels = 1;
  std::int64_t image_size = 28;
  std::int64_t patch = 4;
  std::int64_t channels = 96;
  std::int64_t depth = 4;
  std::int64_t heads = 4;
  std::int64_t num_classes = 10;  ///< the label table has one more row, for "no label"
  double mlp_ratio = 4;
  bool learn_sigma = false;             ///< the network has 2C outputs, of which the first C are the velocity
  bool recompute = false;               ///< blocks are computed again in the backward pass instead of kept
  std::int64_t condition_channels = 0;  ///< of Condition::image, which follow those of x in the patches
  bool spans = false;                   ///< the reference knows none: `span_embed` is ours

  std::int64_t embedded_channels() const { return in_channels + condition_channels; }
};

SiTOptions sit_options(const FieldOptions& options);

/// Floating-point operations of the matrix products in one image's forward pass.
double forward_flops(const SiTOptions& options);
/// Trained numbers of such a model, without making one.
std::int64_t parameter_count(const SiTOptions& options);
/// Numbers that are kept for the backward pass of one image: the inputs of linear layers, norms, gates and activations,
/// and attention as a GPU computes it, without its scores. With `recompute`, each block's input and all of one block.
std::int64_t activation_values(const SiTOptions& options);

/// One transformer block with adaLN-Zero conditioning.
class SiTBlockImpl : public torch::nn::Module {
public:
  explicit SiTBlockImpl(const SiTOptions& options);
  /// x: [N, T, channels]; condition: [N, channels], after SiLU.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& condition);

  std::int64_t heads;
  torch::nn::Linear qkv{nullptr}, proj{nullptr}, mlp_in{nullptr}, mlp_out{nullptr}, modulation{nullptr};
};
TORCH_MODULE(SiTBlock);

class SiTImpl : public Field {
public:
  explicit SiTImpl(const SiTOptions& options);

  /// Labels: num_classes or a negative number is no label.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override {
    return pass(x, t, condition, nullptr);
  }
  at::Tensor forward_by_layers(const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                               std::vector<at::Tensor>& layers) override {
    return pass(x, t, condition, &layers);
  }
  std::int64_t no_label() const override { return options_.num_classes; }
  double forward_flops() const override { return couplet::forward_flops(options_); }
  std::int64_t activation_values() const override { return couplet::activation_values(options_); }
  std::map<std::string, std::string> sizes() const override;

  const SiTOptions& options() const { return options_; }

private:
  void initialize();
  at::Tensor pass(const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                  std::vector<at::Tensor>* layers);
  at::Tensor embedding(const at::Tensor& t, const Condition& condition);

  SiTOptions options_;
  torch::nn::Conv2d x_embedder_{nullptr};
  torch::nn::Linear time_in_{nullptr}, time_out_{nullptr}, final_modulation_{nullptr}, final_linear_{nullptr};
  torch::nn::Embedding label_table_{nullptr};
  SpanEmbedding spans_{nullptr};
  std::vector<SiTBlock> blocks_;
  at::Tensor pos_embed_;  ///< [1, T, channels], fixed
};
TORCH_MODULE(SiT);

/// A model with the reference's initial weights, a function of options and seed. Seeds torch's global generator.
SiT make_sit(const SiTOptions& options, std::uint64_t seed);

/// Fixed 2-D sine-cosine positions [1, side², channels] in reading order (models.py, get_2d_sincos_pos_embed): the
/// first half of the channels encodes the column, the second the row.
at::Tensor sincos_positions(std::int64_t channels, std::int64_t side);

/// SiT's weights with time turned round: a network f(x, t) becomes -f(x, 1 - t), exactly. Its own inverse, so the same
/// for import and export: between our files and the reference's, whose t = 1 is data and whose field points to data.
NamedTensors reverse_time(const NamedTensors& tensors);
/// Published SiT (or DiT-shaped) weights as ours: time turned round; of learn_sigma's 2C output channels, the first C
/// kept. Tensors that are no SiT weights come back as they are: whoever loads them says what is missing, and where.
NamedTensors import_sit(const NamedTensors& published);

}  // namespace couplet
