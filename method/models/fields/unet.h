// The U-Net of ADM (Dhariwal & Nichol, arXiv 2105.05233), the network of the flow-matching papers. Parameter names,
// layouts and first weights are those of openai/guided-diffusion (unet.py), so that weights pass in both directions.
// Its timesteps are `time_scale` times our t.
#pragma once

#include "method/models/field.h"
#include "method/models/fields/unet_blocks.h"
#include "method/models/fields/unet_layout.h"
#include "method/models/span_embedding.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

UNetOptions unet_options(const FieldOptions& options);

class UNetImpl : public Field {
public:
  /// `seed` is of dropout's draws.
  UNetImpl(const UNetOptions& options, std::uint64_t seed);

  /// Labels: num_classes or a negative number is no label. Rows without `positions` drop nothing.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override;
  std::int64_t no_label() const override { return options_.num_classes; }
  double forward_flops() const override { return couplet::forward_flops(options_); }
  std::int64_t activation_values() const override { return couplet::activation_values(options_); }
  std::map<std::string, std::string> sizes() const override;

  const UNetOptions& options() const { return options_; }

private:
  using Entry = std::vector<std::shared_ptr<UNetPartModule>>;

  Entry add_entry(torch::nn::Module& scope, const UNetEntry& parts, std::uint64_t seed);
  at::Tensor embedding(const at::Tensor& t, const Condition& condition);
  at::Tensor through(const Entry& entry, at::Tensor x, const at::Tensor& embedding, const at::Tensor& positions);

  UNetOptions options_;
  std::int64_t residual_blocks_ = 0;  ///< made so far: a number for the draws of each
  torch::nn::Linear time_in_{nullptr}, time_out_{nullptr};
  torch::nn::Embedding labels_{nullptr};
  SpanEmbedding spans_{nullptr};
  torch::nn::Conv2d in_conv_{nullptr}, out_conv_{nullptr};
  torch::nn::GroupNorm out_norm_{nullptr};
  std::vector<Entry> input_, output_;
  Entry middle_;
};
TORCH_MODULE(UNet);

/// A network with guided-diffusion's first weights, a function of options and seed. Seeds torch's global generator.
UNet make_unet(const UNetOptions& options, std::uint64_t seed);

/// [cos(t ω_i), sin(t ω_i)] with ω_i = 10000^(-i / (channels / 2)), and a zero where `channels` is odd (nn.py,
/// timestep_embedding). float32 [N, channels].
at::Tensor timestep_embedding(const at::Tensor& timesteps, std::int64_t channels);

/// Weights of guided-diffusion as a network's of these options, saying what is changed: a table of labels gets a row of
/// zeros for "no label" where it has none, and is made of zeros where there is no table; of twice as many outputs as x
/// has channels (learn_sigma), the first half is taken. All else has to be the same.
NamedTensors import_unet(const NamedTensors& published, const UNetOptions& options);

}  // namespace couplet
