#include "pipeline/tensor/token_passes.h"

#include "pipeline/tensor/wide_passes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t summed_at_once = 32;  ///< tokens whose sum is one term of another: it is more exact so

/// sum[channel] += terms(token, channel) over the tokens, `count` sums at once into sums[s].
template <int count, class Terms>
INLINED void sums_over_tokens(const TokenLayout& layout, float* const (&sums)[count], Terms terms) {
  constexpr std::int64_t lanes = 16;
  for (float* sum : sums) std::fill_n(sum, layout.channels, 0.0f);
  float partial[count][lanes];
  for (std::int64_t from = 0; from < layout.channels; from += lanes) {
    const std::int64_t width = std::min(lanes, layout.channels - from);
    for (std::int64_t first = 0; first < layout.tokens; first += summed_at_once) {
      const std::int64_t end = std::min(layout.tokens, first + summed_at_once);
      for (auto& of_sum : partial) std::fill_n(of_sum, lanes, 0.0f);
      const auto add = [&](std::int64_t t, std::int64_t k) __attribute__((always_inline)) {
        const auto all = terms(t, from + k);
        for (int s = 0; s < count; ++s) partial[s][k] += all.term[s];
      };
      if (width == lanes) {
        for (std::int64_t t = first; t < end; ++t)
#pragma omp simd
          for (std::int64_t k = 0; k < lanes; ++k) add(t, k);
      } else {
        for (std::int64_t t = first; t < end; ++t)
          for (std::int64_t k = 0; k < width; ++k) add(t, k);
      }
      for (int s = 0; s < count; ++s)
        for (std::int64_t k = 0; k < width; ++k) sums[s][from + k] += partial[s][k];
    }
  }
}
template <int count>
struct Terms {
  float term[count];
};

template <class T>
WIDE_WHERE_THERE void normed(const float* __restrict x, const TokenLayout& layout, double eps,
                             const float* __restrict factor, const float* __restrict offset, float* mean,
                             float* inverse, T* __restrict y) {
  const std::int64_t channels = layout.channels;
  for (std::int64_t t = 0; t < layout.tokens; ++t, x += channels, y += channels) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = 0; c < channels; ++c) sum += x[c];
    const float centre = sum / static_cast<float>(channels);
#pragma omp simd reduction(+ : squares)
    for (std::int64_t c = 0; c < channels; ++c) squares += (x[c] - centre) * (x[c] - centre);
    const float inner =
        static_cast<float>(1 / std::sqrt(static_cast<double>(squares) / static_cast<double>(channels) + eps));
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) store((x[c] - centre) * inner * factor[c] + offset[c], y[c]);
    mean[t] = centre;
    inverse[t] = inner;
  }
}

/// With u = (x - mean) · inverse and g the gradient of u: slope + inverse · (g - mean(g) - u mean(g u)).
template <class T>
WIDE_WHERE_THERE void norm_slopes(const float* __restrict x, const TokenLayout& layout, const float* __restrict factor,
                                  const float* mean, const float* inverse, const T* __restrict y_slope,
                                  const float* __restrict slope, float* __restrict x_slope,
                                  float* __restrict factor_slope, float* __restrict offset_slope) {
  const std::int64_t channels = layout.channels;
  const auto count = static_cast<float>(channels);
  for (std::int64_t t = 0; t < layout.tokens; ++t) {
    const float *from = x + t * channels, *more = slope + t * channels, centre = mean[t], inner = inverse[t];
    const T* g = y_slope + t * channels;
    float* to = x_slope + t * channels;
    float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (std::int64_t c = 0; c < channels; ++c) {
      const float each = number(g[c]) * factor[c];
      sum += each;
      product += each * (from[c] - centre);
    }
    const float average = sum / count, pull = product * inner * inner / count;
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c)
      to[c] = more[c] + inner * (number(g[c]) * factor[c] - average - (from[c] - centre) * pull);
  }
  sums_over_tokens<2>(
      layout, {factor_slope, offset_slope}, [=](std::int64_t t, std::int64_t c) __attribute__((always_inline)) {
        const float g = number(y_slope[t * channels + c]);
        return Terms<2>{{g * (x[t * channels + c] - mean[t]) * inverse[t], g}};
      });
}

template <class T>
WIDE_WHERE_THERE void gated_sum(const float* __restrict x, const TokenLayout& layout, const float* __restrict gate,
                                const T* __restrict y, float* __restrict out) {
  if (gate == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < layout.values(); ++i) out[i] = x[i] + number(y[i]);
    return;
  }
  for (std::int64_t t = 0, at = 0; t < layout.tokens; ++t, at += layout.channels)
#pragma omp simd
    for (std::int64_t c = 0; c < layout.channels; ++c) out[at + c] = x[at + c] + gate[c] * number(y[at + c]);
}

template <class T>
WIDE_WHERE_THERE void gate_slopes(const float* __restrict slope, const TokenLayout& layout,
                                  const float* __restrict gate, const T* __restrict y, T* __restrict y_slope,
                                  float* __restrict gate_slope) {
  const std::int64_t channels = layout.channels;
  if (gate == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < layout.values(); ++i) store(slope[i], y_slope[i]);
    return;
  }
  for (std::int64_t t = 0, at = 0; t < layout.tokens; ++t, at += channels)
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) store(slope[at + c] * gate[c], y_slope[at + c]);
  sums_over_tokens<1>(
      layout, {gate_slope}, [=](std::int64_t t, std::int64_t c) __attribute__((always_inline)) {
        return Terms<1>{{slope[t * channels + c] * number(y[t * channels + c])}};
      });
}

/// GELU's value is x · share; its derivative share + x · density.
struct NearNormal {
  float share, density;
};

/// The form of GELU by tanh: ½ (1 + tanh u) = 1 / (1 + e^(-2u)), u = √(2/π) (x + 0.044715 x³).
INLINED NearNormal near_normal_at(float x) {
  constexpr float twice_root = 1.59576912f, cubic = 0.044715f;
  const float square = x * x, share = 1.0f / (1.0f + exponential(-twice_root * x * (1.0f + cubic * square)));
  return {share, share * (1.0f - share) * twice_root * (1.0f + 3.0f * cubic * square)};
}
template <class T>
WIDE_WHERE_THERE void gelu_of(const T* __restrict x, std::int64_t count, T* __restrict y) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) store(number(x[i]) * near_normal_at(number(x[i])).share, y[i]);
}

template <class T>
WIDE_WHERE_THERE void gelu_slopes(const T* __restrict x, std::int64_t count, T* __restrict slope, T* __restrict y) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = number(x[i]);
    const NearNormal normal = near_normal_at(value);
    store(number(slope[i]) * (normal.share + value * normal.density), slope[i]);
    store(value * normal.share, y[i]);
  }
}

template <class T>
WIDE_WHERE_THERE void summed(const T* __restrict x, const TokenLayout& layout, float* __restrict sum) {
  sums_over_tokens<1>(
      layout, {sum}, [=](std::int64_t t, std::int64_t c) __attribute__((always_inline)) {
        return Terms<1>{{number(x[t * layout.channels + c])}};
      });
}

template <class T>
WIDE_WHERE_THERE void softmax_of(T* scores, std::int64_t tokens, float scale, bool causal, float* __restrict row) {
  for (std::int64_t t = 0; t < tokens; ++t, scores += tokens) {
    const std::int64_t seen = causal ? t + 1 : tokens;
    float largest = -INFINITY, sum = 0;
#pragma omp simd reduction(max : largest)
    for (std::int64_t k = 0; k < seen; ++k) {
      row[k] = number(scores[k]) * scale;
      largest = row[k] > largest ? row[k] : largest;
    }
#pragma omp simd reduction(+ : sum)
    for (std::int64_t k = 0; k < seen; ++k) {
      row[k] = exponential(row[k] - largest);
      sum += row[k];
    }
    const float share = 1.0f / sum;
#pragma omp simd
    for (std::int64_t k = 0; k < seen; ++k) store(row[k] * share, scores[k]);
    for (std::int64_t k = seen; k < tokens; ++k) scores[k] = T();
  }
}

template <class T>
WIDE_WHERE_THERE void softmax_slopes(const T* __restrict softmax, std::int64_t tokens, float scale,
                                     T* __restrict slope) {
  for (std::int64_t t = 0; t < tokens; ++t, softmax += tokens, slope += tokens) {
    float sum = 0, whole = 0;
#pragma omp simd reduction(+ : sum, whole)
    for (std::int64_t k = 0; k < tokens; ++k) {
      sum += number(softmax[k]) * number(slope[k]);
      whole += number(softmax[k]);  // 1 but for the rounding of each
    }
    const float mean = sum / whole;
#pragma omp simd
    for (std::int64_t k = 0; k < tokens; ++k) store(scale * number(softmax[k]) * (number(slope[k]) - mean), slope[k]);
  }
}

}  // namespace

template <class T>
void norm_tokens(const float* x, const TokenLayout& layout, double eps, const float* factor, const float* offset,
                 float* mean, float* inverse, T* y) {
  normed(x, layout, eps, factor, offset, mean, inverse, y);
}
template <class T>
void norm_gradient(const float* x, const TokenLayout& layout, const float* factor, const float* mean,
                   const float* inverse, const T* y_slope, const float* slope, float* x_slope, float* factor_slope,
                   float* offset_slope) {
  norm_slopes(x, layout, factor, mean, inverse, y_slope, slope, x_slope, factor_slope, offset_slope);
}
template <class T>
void add_gated(const float* x, const TokenLayout& layout, const float* gate, const T* y, float* out) {
  gated_sum(x, layout, gate, y, out);
}
template <class T>
void gate_gradient(const float* slope, const TokenLayout& layout, const float* gate, const T* y, T* y_slope,
                   float* gate_slope) {
  gate_slopes(slope, layout, gate, y, y_slope, gate_slope);
}
template <class T>
void gelu_tanh(const T* x, std::int64_t count, T* y) {
  gelu_of(x, count, y);
}
template <class T>
void gelu_tanh_gradient(const T* x, std::int64_t count, T* slope, T* y) {
  gelu_slopes(x, count, slope, y);
}
template <class T>
void token_sums(const T* x, const TokenLayout& layout, float* sum) {
  summed(x, layout, sum);
}
template <class T>
void softmax_scores(T* scores, std::int64_t tokens, float scale, bool causal) {
  std::vector<float> row(static_cast<std::size_t>(tokens));
  softmax_of(scores, tokens, scale, causal, row.data());
}
template <class T>
void softmax_gradient(const T* softmax, std::int64_t tokens, float scale, T* slope) {
  softmax_slopes(softmax, tokens, scale, slope);
}

#define FOR_TYPE(T)                                                                                                    \
  template void norm_tokens(const float*, const TokenLayout&, double, const float*, const float*, float*, float*, T*); \
  template void norm_gradient(const float*, const TokenLayout&, const float*, const float*, const float*, const T*,    \
                              const float*, float*, float*, float*);                                                   \
  template void add_gated(const float*, const TokenLayout&, const float*, const T*, float*);                           \
  template void gate_gradient(const float*, const TokenLayout&, const float*, const T*, T*, float*);                   \
  template void gelu_tanh(const T*, std::int64_t, T*);                                                                 \
  template void gelu_tanh_gradient(const T*, std::int64_t, T*, T*);                                                    \
  template void token_sums(const T*, const TokenLayout&, float*);                                                      \
  template void softmax_scores(T*, std::int64_t, float, bool);                                                         \
  template void softmax_gradient(const T*, std::int64_t, float, T*);
FOR_TYPE(float)
FOR_TYPE(Bfloat16)
#undef FOR_TYPE

}  // namespace couplet
