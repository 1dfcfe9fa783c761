// What a U-Net of ADM (Dhariwal & Nichol, arXiv 2105.05233) is made of, part by part, as guided-diffusion's unet.py
// puts it together. The network is built from this list, and what it costs is counted from it without building one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Groups of every norm, which channels are multiples of.
inline constexpr std::int64_t unet_norm_groups = 32;

/// Flags of guided-diffusion's UNetModel, by our names.
struct UNetOptions {
  std::int64_t in_channels = 1;
  std::int64_t condition_channels = 0;  ///< of the condition's image, which follow those of x
  std::int64_t out_channels = 1;  ///< published networks have 2 · in_channels: the noise, and the learnt variance
  std::int64_t image_size = 28;
  std::int64_t num_classes = 10;  ///< the label table has one more row, for "no label"; 0: there is no table
  std::int64_t channels = 32;     ///< those of level l are channels · multipliers[l]
  std::vector<std::int64_t> multipliers = {1, 2, 2};
  std::int64_t blocks = 2;                    ///< residual blocks a level
  std::vector<std::int64_t> attention = {2};  ///< downsampling factors of the levels that have it
  std::int64_t heads = 1;
  std::int64_t head_channels = 0;    ///< 0: channels of the level / heads
  bool scale_shift = true;           ///< use_scale_shift_norm
  bool residual_resampling = true;   ///< resblock_updown
  bool conv_resample = true;         ///< where resampling is not residual: by convolutions, or by averages alone
  bool new_attention_order = false;  ///< qkv's channels are [q|k|v][head], or, as legacy, [head][q|k|v]
  double dropout = 0;
  double time_scale = 1000;    ///< of t in [0, 1]; the sinusoids see time_scale · t
  bool channels_last = false;  ///< memory format of images
  bool recompute = false;      ///< parts are computed again in the backward pass instead of kept
  bool spans = false;          ///< guided-diffusion knows none: `span_embed` is ours
};

/// Channels of the time embedding.
std::int64_t embedding_channels(const UNetOptions& options);

enum class Resampling { none, down, up };

/// A part of an entry, with a name of its own: a number.
struct UNetPart {
  enum class Kind { convolution, residual, attention, resampling };
  Kind kind = Kind::convolution;
  std::int64_t in = 0, out = 0;  ///< channels
  std::int64_t side = 0;         ///< of the images that come in
  Resampling resampling = Resampling::none;

  std::int64_t side_out() const {
    return resampling == Resampling::none ? side : resampling == Resampling::down ? side / 2 : side * 2;
  }
};

/// Parts that follow each other.
using UNetEntry = std::vector<UNetPart>;

struct UNetLayout {
  std::vector<UNetEntry> input;  ///< what each entry gives is kept, and goes to the output entries, the last one first
  UNetEntry middle;
  std::vector<UNetEntry> output;  ///< each takes what came before it, and then what was kept
  std::int64_t channels = 0;      ///< of what the last one gives

  std::vector<UNetPart> parts() const;  ///< all, in order
};
UNetLayout layout_of(const UNetOptions& options);

/// Trained numbers.
std::int64_t parameter_count(const UNetOptions& options);
/// Floating-point operations of the matrix products and convolutions in one image's forward pass.
double forward_flops(const UNetOptions& options);
/// Numbers that are kept for the backward pass of one image on a CPU: the inputs of convolutions, norms and
/// activations, and attention as a GPU computes it, without its scores. With `recompute`, each part's input and all of
/// the largest part.
std::int64_t activation_values(const UNetOptions& options);

/// Refuses sizes that do not fit together; messages call the keys by `section`. An image size of 0 is not known yet.
void check(const UNetOptions& options, const std::string& section);

}  // namespace couplet
