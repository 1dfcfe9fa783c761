// Passes over one image for group normalisation with what follows it, each over all of its values once.
#pragma once

#include "pipeline/tensor/bfloat16.h"

#include <cstdint>

namespace couplet {

/// The values of one image: [channels, pixels], or [pixels, channels] where channels are last. Channels are divided
/// into groups of neighbours.
struct ImageLayout {
  std::int64_t channels = 0, pixels = 0, groups = 1;
  bool channels_last = false;

  std::int64_t values() const { return channels * pixels; }
};

// T is float or Bfloat16: of that type values lie in memory. They are computed in float.

/// The mean of each group, and 1 / √(variance + eps): [groups] each.
template <class T>
void group_moments(const T* x, const ImageLayout& layout, double eps, float* mean, float* inverse);

/// What an image is multiplied by and what is added, a value a channel, and whether SiLU follows:
/// h = factor x + offset, y = silu(h) or h.
struct ChannelMap {
  const float *factor = nullptr, *offset = nullptr;
  bool silu = false;
};

template <class T>
void map_channels(const T* x, const ImageLayout& layout, const ChannelMap& map, T* y);

/// Sums of a channel's gradients of h, and of their products with x - centre: [channels] each. `y_slope` is the
/// gradient of y.
template <class T>
void gradient_sums(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map, const float* centre,
                   double* sum, double* product);

/// The gradient of x: a channel's `factor` times the gradient of h, less drift + pull (x - centre).
struct GradientMap {
  const float *factor = nullptr, *centre = nullptr, *drift = nullptr, *pull = nullptr;
};

template <class T>
void map_gradient(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map,
                  const GradientMap& gradient, T* x_slope);

}  // namespace couplet
