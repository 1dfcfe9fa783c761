// The blocks of ADM's U-Net, with the parameter names of guided-diffusion's unet.py.
#pragma once

#include "method/models/dropout.h"
#include "method/models/fields/unet_layout.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <cstdint>
#include <memory>

namespace couplet {

/// GroupNorm32 of unet.py, 32 groups with an eps of 1e-5, and SiLU of it: computed in float32 at least, given back in
/// x's type. Between the two come scale and shift, [N, C], where they are given: n (1 + scale) + shift.
at::Tensor normed_silu(const at::Tensor& x, const torch::nn::GroupNorm& norm, const at::Tensor& scale = {},
                       const at::Tensor& shift = {});

/// A part of the network. `embedding` is that of time and label, behind SiLU: [N, E]. `positions`, int64 [N], number
/// the rows whose dropout is drawn; without elements, nothing is dropped.
class UNetPartModule : public torch::nn::Module {
public:
  virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& embedding, const at::Tensor& positions) = 0;
};

class UNetResidual : public UNetPartModule {
public:
  UNetResidual(const UNetOptions& options, const UNetPart& part, const DropoutDraws& dropout);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& embedding, const at::Tensor& positions) override;

private:
  UNetPart part_;
  bool scale_shift_;
  DropoutDraws dropout_;
  torch::nn::GroupNorm in_norm_{nullptr}, out_norm_{nullptr};
  torch::nn::Conv2d in_conv_{nullptr}, out_conv_{nullptr}, skip_{nullptr};
  torch::nn::Linear embedding_{nullptr};
};

class UNetAttention : public UNetPartModule {
public:
  UNetAttention(const UNetOptions& options, const UNetPart& part);
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const at::Tensor&) override;

private:
  std::int64_t heads_;
  bool new_order_;
  torch::nn::GroupNorm norm_{nullptr};
  torch::nn::Conv1d qkv_{nullptr}, projection_{nullptr};
};

/// Upsample and Downsample of unet.py, which are the parts of networks without residual resampling.
class UNetResampling : public UNetPartModule {
public:
  UNetResampling(const UNetOptions& options, const UNetPart& part);
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const at::Tensor&) override;

private:
  Resampling resampling_;
  torch::nn::Conv2d convolution_{nullptr};
};

/// The module of a part that is no convolution.
std::shared_ptr<UNetPartModule> make_part(const UNetOptions& options, const UNetPart& part,
                                          const DropoutDraws& dropout);

}  // namespace couplet
