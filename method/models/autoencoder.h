// An autoencoder: a small convolutional network from images to latents, whose sides are a few times smaller, and one
// back. Each value of a latent has a mean and a deviation, as in a variational autoencoder, or a mean alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

struct AutoencoderOptions {
  std::int64_t in_channels = 3;
  std::int64_t image_size = 64;
  std::int64_t channels = 16;  ///< of the first level; each later one has twice as many, up to four times
  std::int64_t latent_channels = 4;
  std::int64_t factor = 4;  ///< of the sides of an image and of its latent: a power of two
  bool plain = false;       ///< latents have no deviation
  bool recompute = false;   ///< layers are computed again in the backward pass instead of kept

  std::int64_t latent_size() const { return image_size / factor; }
};

/// Groups of every norm, which channels are multiples of.
inline constexpr std::int64_t autoencoder_norm_groups = 4;
inline constexpr double autoencoder_norm_eps = 1e-6;

/// A 3x3 convolution and what comes before and after it.
struct AutoencoderStep {
  std::string name = {};         ///< of its weights: "encoder_0_first"
  std::int64_t in = 0, out = 0;  ///< channels
  std::int64_t side = 0;         ///< of the images that come out
  std::int64_t stride = 1;
  bool enlarged = false;      ///< images first get twice the side, by nearest neighbours
  bool normed = false;        ///< then come group normalisation and SiLU
  bool begins_block = false;  ///< what comes in is kept, and
  bool ends_block = false;    ///< added to what comes out
};

/// The network, step by step: it is built, written as a program and counted by these lists.
std::vector<AutoencoderStep> encoder_steps(const AutoencoderOptions& options);
std::vector<AutoencoderStep> decoder_steps(const AutoencoderOptions& options);

/// Refuses sizes that do not fit together, naming the configuration keys.
void check(const AutoencoderOptions& options);
/// Floating-point operations of the products in one image's way to its latent and back.
double forward_flops(const AutoencoderOptions& options);
/// Trained numbers of such a model, without making one.
std::int64_t parameter_count(const AutoencoderOptions& options);

/// Logarithms of variances lie between these, as in latent diffusion.
inline constexpr double least_log_variance = -30, largest_log_variance = 20;

/// Of each latent value [N, C, h, w].
struct LatentMoments {
  at::Tensor mean;
  at::Tensor log_variance;  ///< undefined in a plain autoencoder

  /// 0 in a plain autoencoder.
  at::Tensor deviation() const;
};

/// A row of what it gives depends on that row alone. Calls change nothing in it.
class AutoencoderImpl : public torch::nn::Module {
public:
  explicit AutoencoderImpl(const AutoencoderOptions& options);

  /// Of images [N, in_channels, H, W] on [-1, 1], in their type.
  LatentMoments encode(const at::Tensor& images) const;
  /// Images of latents [N, latent_channels, h, w], in their type.
  at::Tensor decode(const at::Tensor& latents) const;
  /// The mean over rows of the squared error of decode(mean + deviation · noise), a pixel value, plus `kl_weight` times
  /// the divergence of the latents from N(0, I), in nats an image, divided by the number of pixel values: latent
  /// diffusion's loss (arXiv 2112.10752) a value, with the squared error as its reconstruction. `noise`: standard
  /// normal [N, latent_channels, h, w]; a plain autoencoder takes none.
  at::Tensor loss(const at::Tensor& images, const at::Tensor& noise, double kl_weight) const;

  const AutoencoderOptions& options() const { return options_; }

private:
  struct Layer {
    AutoencoderStep step;
    torch::nn::Conv2d convolution{nullptr};
    torch::nn::GroupNorm norm{nullptr};  ///< null where there is none

    at::Tensor operator()(const at::Tensor& x) const;
    std::vector<at::Tensor> parameters() const;
  };
  std::vector<Layer> make_layers(const std::vector<AutoencoderStep>& steps);
  at::Tensor run(const std::vector<Layer>& layers, const at::Tensor& input) const;

  AutoencoderOptions options_;
  std::vector<Layer> encoder_, decoder_;
};
TORCH_MODULE(Autoencoder);

/// A model with random weights, a function of options and seed. Seeds torch's global generator.
Autoencoder make_autoencoder(const AutoencoderOptions& options, std::uint64_t seed);

}  // namespace couplet
