#include "pipeline/tensor/image_norm.h"

#include "pipeline/tensor/wide_passes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

namespace couplet {
namespace {

template <bool silu>
INLINED float activated(float h) {
  return silu ? h / (1.0f + exponential(-h)) : h;
}
/// The derivative of `activated`.
template <bool silu>
INLINED float slope(float h) {
  if constexpr (!silu) return 1.0f;
  const float s = 1.0f / (1.0f + exponential(-h));
  return s * (1.0f + h * (1.0f - s));
}

/// work(channel, index) of all values of an image.
template <bool last, class Work>
INLINED void each_value(const ImageLayout& layout, Work work) {
  const std::int64_t outer = last ? layout.pixels : layout.channels, inner = last ? layout.channels : layout.pixels;
  for (std::int64_t i = 0; i < outer; ++i)
#pragma omp simd
    for (std::int64_t j = 0; j < inner; ++j) work(last ? j : i, i * inner + j);
}

/// The sums of values(channel, index) over the pixels of each channel: in single precision over a few values, in double
/// over those sums.
template <bool last, std::size_t count, class Values>
INLINED void channel_sums(const ImageLayout& layout, Values values, const std::array<double*, count>& sums) {
  constexpr std::int64_t lanes = 16, block = 32;
  const std::int64_t channels = layout.channels, pixels = layout.pixels;
  for (double* sum : sums) std::fill_n(sum, channels, 0.0);
  float partial[count][lanes];
  const auto add = [&](std::int64_t channel, std::int64_t index, std::int64_t lane) __attribute__((always_inline)) {
    const std::array<float, count> all = values(channel, index);
    for (std::size_t s = 0; s < count; ++s) partial[s][lane] += all[s];
  };
  if constexpr (last) {
    for (std::int64_t from = 0; from < channels; from += lanes) {
      const std::int64_t width = std::min(lanes, channels - from);
      for (std::int64_t first = 0; first < pixels; first += block) {
        for (auto& of_sum : partial) std::fill_n(of_sum, lanes, 0.0f);
        const std::int64_t end = std::min(pixels, first + block);
        if (width == lanes) {
          for (std::int64_t p = first; p < end; ++p)
#pragma omp simd
            for (std::int64_t k = 0; k < lanes; ++k) add(from + k, p * channels + from + k, k);
        } else {
          for (std::int64_t p = first; p < end; ++p)
            for (std::int64_t k = 0; k < width; ++k) add(from + k, p * channels + from + k, k);
        }
        for (std::size_t s = 0; s < count; ++s)
          for (std::int64_t k = 0; k < width; ++k) sums[s][from + k] += static_cast<double>(partial[s][k]);
      }
    }
  } else {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t first = 0; first < pixels; first += lanes * block) {
        for (auto& of_sum : partial) std::fill_n(of_sum, lanes, 0.0f);
        const std::int64_t end = std::min(pixels, first + lanes * block), whole = first + (end - first) / lanes * lanes;
        for (std::int64_t p = first; p < whole; p += lanes)
#pragma omp simd
          for (std::int64_t k = 0; k < lanes; ++k) add(c, c * pixels + p + k, k);
        for (std::int64_t p = whole; p < end; ++p) add(c, c * pixels + p, p - whole);
        for (std::size_t s = 0; s < count; ++s)
          for (const float part : partial[s]) sums[s][c] += static_cast<double>(part);
      }
    }
  }
}

/// In two passes: the variance of values far from 0 is exact, too.
template <bool last, class T>
INLINED void moments(const T* x, const ImageLayout& layout, double eps, float* mean, float* inverse, double* sum,
                     float* centre) {
  const std::int64_t of_group = layout.channels / layout.groups;
  const auto count = static_cast<double>(of_group * layout.pixels);
  const auto group_sum = [&](std::int64_t group) {
    double all = 0;
    for (std::int64_t c = group * of_group; c < (group + 1) * of_group; ++c) all += sum[c];
    return all;
  };
  channel_sums<last, 1>(layout, [=](std::int64_t, std::int64_t i) { return std::array<float, 1>{number(x[i])}; },
                        {sum});
  for (std::int64_t group = 0; group < layout.groups; ++group) {
    mean[group] = static_cast<float>(group_sum(group) / count);
    std::fill_n(centre + group * of_group, of_group, mean[group]);
  }
  channel_sums<last, 1>(layout,
                        [=](std::int64_t c, std::int64_t i) {
                          const float off = number(x[i]) - centre[c];
                          return std::array<float, 1>{off * off};
                        },
                        {sum});
  for (std::int64_t group = 0; group < layout.groups; ++group)
    inverse[group] = static_cast<float>(1 / std::sqrt(group_sum(group) / count + eps));
}

template <class T>
WIDE_WHERE_THERE void moments_of(const T* x, const ImageLayout& layout, double eps, float* mean, float* inverse,
                                 double* sum, float* centre) {
  if (layout.channels_last)
    moments<true>(x, layout, eps, mean, inverse, sum, centre);
  else
    moments<false>(x, layout, eps, mean, inverse, sum, centre);
}

template <bool last, bool silu, class T>
INLINED void mapped(const T* __restrict x, const ImageLayout& layout, const ChannelMap& map, T* __restrict y) {
  const float* __restrict factor = map.factor, * __restrict offset = map.offset;
  each_value<last>(
      layout, [=](std::int64_t c, std::int64_t i) __attribute__((always_inline)) {
        store(activated<silu>(factor[c] * number(x[i]) + offset[c]), y[i]);
      });
}

template <bool last, bool silu, class T>
INLINED void slope_sums(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map,
                        const float* centre, double* sum, double* product) {
  const float *factor = map.factor, *offset = map.offset;
  channel_sums<last, 2>(layout,
                        [=](std::int64_t c, std::int64_t i) __attribute__((always_inline)) {
                          const float value = number(x[i]);
                          const float g = number(y_slope[i]) * slope<silu>(factor[c] * value + offset[c]);
                          return std::array<float, 2>{g, g * (value - centre[c])};
                        },
                        {sum, product});
}

template <bool last, bool silu, class T>
INLINED void mapped_gradient(const T* __restrict x, const T* __restrict y_slope, const ImageLayout& layout,
                             const ChannelMap& map, const GradientMap& gradient, T* __restrict x_slope) {
  const float* __restrict factor = map.factor, * __restrict offset = map.offset, * __restrict scale = gradient.factor;
  const float* __restrict centre = gradient.centre, * __restrict drift = gradient.drift, * __restrict pull = gradient.pull;
  each_value<last>(
      layout, [=](std::int64_t c, std::int64_t i) __attribute__((always_inline)) {
        const float value = number(x[i]);
        const float g = number(y_slope[i]) * slope<silu>(factor[c] * value + offset[c]);
        store(scale[c] * g - (drift[c] + pull[c] * (value - centre[c])), x_slope[i]);
      });
}

/// Calls pass<channels are last, SiLU follows>(arguments...).
#define BY_LAYOUT(pass, ...)                                                   \
  if (layout.channels_last)                                                    \
    map.silu ? pass<true, true>(__VA_ARGS__) : pass<true, false>(__VA_ARGS__); \
  else                                                                         \
    map.silu ? pass<false, true>(__VA_ARGS__) : pass<false, false>(__VA_ARGS__)

template <class T>
WIDE_WHERE_THERE void mapped_of(const T* x, const ImageLayout& layout, const ChannelMap& map, T* y) {
  BY_LAYOUT(mapped, x, layout, map, y);
}
template <class T>
WIDE_WHERE_THERE void slope_sums_of(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map,
                                    const float* centre, double* sum, double* product) {
  BY_LAYOUT(slope_sums, x, y_slope, layout, map, centre, sum, product);
}
template <class T>
WIDE_WHERE_THERE void mapped_gradient_of(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map,
                                         const GradientMap& gradient, T* x_slope) {
  BY_LAYOUT(mapped_gradient, x, y_slope, layout, map, gradient, x_slope);
}

}  // namespace

template <class T>
void group_moments(const T* x, const ImageLayout& layout, double eps, float* mean, float* inverse) {
  std::vector<double> sum(static_cast<std::size_t>(layout.channels));
  std::vector<float> centre(sum.size());
  moments_of(x, layout, eps, mean, inverse, sum.data(), centre.data());
}
template <class T>
void map_channels(const T* x, const ImageLayout& layout, const ChannelMap& map, T* y) {
  mapped_of(x, layout, map, y);
}
template <class T>
void gradient_sums(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map, const float* centre,
                   double* sum, double* product) {
  slope_sums_of(x, y_slope, layout, map, centre, sum, product);
}
template <class T>
void map_gradient(const T* x, const T* y_slope, const ImageLayout& layout, const ChannelMap& map,
                  const GradientMap& gradient, T* x_slope) {
  mapped_gradient_of(x, y_slope, layout, map, gradient, x_slope);
}

#define FOR_TYPE(T)                                                                                             \
  template void group_moments(const T*, const ImageLayout&, double, float*, float*);                            \
  template void map_channels(const T*, const ImageLayout&, const ChannelMap&, T*);                              \
  template void gradient_sums(const T*, const T*, const ImageLayout&, const ChannelMap&, const float*, double*, \
                              double*);                                                                         \
  template void map_gradient(const T*, const T*, const ImageLayout&, const ChannelMap&, const GradientMap&, T*);
FOR_TYPE(float)
FOR_TYPE(Bfloat16)
#undef FOR_TYPE

}  // namespace couplet
