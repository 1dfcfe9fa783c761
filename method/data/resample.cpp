#include "method/data/resample.h"

#include "method/registry.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace couplet {
namespace {

double box_weight(double x) {
  return x > -0.5 && x <= 0.5 ? 1 : 0;
}

double bilinear_weight(double x) {
  return std::abs(x) < 1 ? 1 - std::abs(x) : 0;
}

/// Keys' cubic with a = -1/2.
double bicubic_weight(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos_weight(double x) {
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

/// Weights are integers in units of 2^-22: with 8-bit values and a sign, a sum stays within 32 bits.
constexpr int fraction_bits = 22;

/// The values of one side that a value at the new size is a mean of.
struct Taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weights;
};

std::vector<Taps> taps_of(std::int64_t from, std::int64_t to, const ResampleFilter& filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch;
  std::vector<Taps> all(static_cast<std::size_t>(to));
  std::vector<double> weights;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const std::int64_t end = std::min(static_cast<std::int64_t>(centre + support + 0.5), from);
    weights.clear();
    double sum = 0;
    for (std::int64_t x = first; x < end; ++x) {
      weights.push_back(filter.weight((static_cast<double>(x) - centre + 0.5) * (1.0 / stretch)));
      sum += weights.back();
    }
    all[i].first = first;
    for (const double weight : weights) {
      const double scaled = (sum != 0 ? weight / sum : weight) * (1 << fraction_bits);
      all[i].weights.push_back(static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return all;
}

constexpr std::int32_t half = 1 << (fraction_bits - 1);

std::uint8_t rounded_value(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> fraction_bits, 0, 255));
}

Picture blank(std::int64_t height, std::int64_t width, std::int64_t channels) {
  return {height, width, channels, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * channels))};
}

std::size_t row_values(const Picture& picture) {
  return static_cast<std::size_t>(picture.width * picture.channels);
}

template <std::size_t channels>
void weigh_columns(const std::vector<Taps>& taps, const std::uint8_t* in, std::uint8_t* out) {
  for (const Taps& tap : taps) {
    std::int32_t sums[channels];
    std::fill_n(sums, channels, half);
    const std::uint8_t* values = in + static_cast<std::size_t>(tap.first) * channels;
    for (const std::int32_t weight : tap.weights)
      for (std::size_t c = 0; c < channels; ++c) sums[c] += weight * *values++;
    for (const std::int32_t sum : sums) *out++ = rounded_value(sum);
  }
}

Picture resample_columns(const Picture& picture, std::int64_t width, const ResampleFilter& filter) {
  const std::vector<Taps> taps = taps_of(picture.width, width, filter);
  Picture out = blank(picture.height, width, picture.channels);
  for (std::size_t y = 0; y < static_cast<std::size_t>(picture.height); ++y) {
    const std::uint8_t* from = picture.pixels.data() + y * row_values(picture);
    std::uint8_t* to = out.pixels.data() + y * row_values(out);
    if (picture.channels == 1)
      weigh_columns<1>(taps, from, to);
    else
      weigh_columns<3>(taps, from, to);
  }
  return out;
}

Picture resample_rows(const Picture& picture, std::int64_t height, const ResampleFilter& filter) {
  const std::vector<Taps> taps = taps_of(picture.height, height, filter);
  Picture out = blank(height, picture.width, picture.channels);
  const std::size_t values = row_values(picture);
  std::vector<std::int32_t> sums(values);
  for (std::size_t y = 0; y < taps.size(); ++y) {
    std::ranges::fill(sums, half);
    const std::uint8_t* row = picture.pixels.data() + static_cast<std::size_t>(taps[y].first) * values;
    for (const std::int32_t weight : taps[y].weights) {
      for (std::size_t i = 0; i < values; ++i) sums[i] += weight * row[i];
      row += values;
    }
    std::uint8_t* to = out.pixels.data() + y * values;
    for (std::size_t i = 0; i < values; ++i) to[i] = rounded_value(sums[i]);
  }
  return out;
}

// A box over two values has weights of 1/2, with which the sum above is their mean rounded up.

std::uint8_t mean_of(int a, int b) {
  return static_cast<std::uint8_t>((a + b + 1) >> 1);
}

Picture halve_columns(const Picture& picture) {
  Picture out = blank(picture.height, picture.width / 2, picture.channels);
  const std::size_t values = row_values(picture), channels = static_cast<std::size_t>(picture.channels);
  std::vector<std::uint8_t> means(values);
  std::uint8_t* to = out.pixels.data();
  for (std::size_t y = 0; y < static_cast<std::size_t>(picture.height); ++y) {
    const std::uint8_t* row = picture.pixels.data() + y * values;
    // With the next pixel of each, of which every other is wanted: the compiler makes vectors of such a loop.
    for (std::size_t i = 0; i < values - channels; ++i) means[i] = mean_of(row[i], row[i + channels]);
    for (std::size_t x = 0; x < values; x += 2 * channels)
      for (std::size_t c = 0; c < channels; ++c) *to++ = means[x + c];
  }
  return out;
}

Picture halve_rows(const Picture& picture) {
  Picture out = blank(picture.height / 2, picture.width, picture.channels);
  const std::size_t values = row_values(picture);
  for (std::size_t y = 0; y < static_cast<std::size_t>(out.height); ++y) {
    const std::uint8_t* above = picture.pixels.data() + 2 * y * values;
    std::uint8_t* to = out.pixels.data() + y * values;
    for (std::size_t i = 0; i < values; ++i) to[i] = mean_of(above[i], above[i + values]);
  }
  return out;
}

bool is_halved_by_box(std::int64_t from, std::int64_t to, const ResampleFilter& filter) {
  return from == 2 * to && filter.weight == box_weight;
}

}  // namespace

const std::vector<ResampleFilter>& resample_filters() {
  static const std::vector<ResampleFilter> all{
      {"box", "the mean of the pixels that become one", 0.5, box_weight},
      {"bilinear", "a triangle, as wide as two pixels of the coarser grid", 1, bilinear_weight},
      {"bicubic", "Keys' cubic with a = -1/2, four pixels wide", 2, bicubic_weight},
      {"lanczos", "a windowed sinc, six pixels wide", 3, lanczos_weight},
  };
  return all;
}

const ResampleFilter& find_resample_filter(const std::string& name) {
  return find_kind(resample_filters(), name, "filter");
}

Picture resample(const Picture& picture, std::int64_t height, std::int64_t width, const ResampleFilter& filter) {
  Picture columns;
  const Picture* narrowed = &picture;
  if (width != picture.width) {
    columns = is_halved_by_box(picture.width, width, filter) ? halve_columns(picture)
                                                             : resample_columns(picture, width, filter);
    narrowed = &columns;
  }
  if (height == picture.height) return *narrowed;
  return is_halved_by_box(picture.height, height, filter) ? halve_rows(*narrowed)
                                                          : resample_rows(*narrowed, height, filter);
}

}  // namespace couplet
