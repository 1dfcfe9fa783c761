#include "method/data/resample.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace couplet {
namespace {

/// Weights are integers in units of 2^-22: with 8-bit values and a sign, a sum stays within 32 bits.
constexpr int fraction_bits = 22;
constexpr std::int32_t half = 1 << (fraction_bits - 1);

/// Which values of a side a value at the new size is a mean of, and with what weights.
struct Taps {
  std::vector<std::int64_t> first;  ///< of each new value
  std::vector<std::size_t> end;     ///< of its weights, which follow those of the one before
  std::vector<std::int32_t> weights;
  bool are_pairs = false;  ///< each is of two values, weighted by a half

  std::span<const std::int32_t> weights_of(std::size_t i) const {
    const std::size_t start = i == 0 ? 0 : end[i - 1];
    return std::span(weights).subspan(start, end[i] - start);
  }
};

Taps taps_of(std::int64_t from, std::int64_t to, const ResampleFilter& filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to), stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch;
  Taps taps;
  std::vector<double> weights;
  for (std::int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const std::int64_t last = std::min(static_cast<std::int64_t>(centre + support + 0.5), from);
    weights.clear();
    double sum = 0;
    for (std::int64_t x = first; x < last; ++x) {
      weights.push_back(filter.weight((static_cast<double>(x) - centre + 0.5) * (1.0 / stretch)));
      sum += weights.back();
    }
    taps.first.push_back(first);
    for (const double weight : weights) {
      const double scaled = (sum != 0 ? weight / sum : weight) * (1 << fraction_bits);
      taps.weights.push_back(static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
    taps.end.push_back(taps.weights.size());
  }
  taps.are_pairs = from == 2 * to && taps.weights.size() == static_cast<std::size_t>(from) &&
                   std::ranges::all_of(taps.weights, [](std::int32_t weight) { return weight == half; });
  return taps;
}

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
void weigh_columns(const Taps& taps, const std::uint8_t* in, std::uint8_t* out) {
  const std::int32_t* weight = taps.weights.data();
  for (std::size_t i = 0; i < taps.first.size(); ++i) {
    std::array<std::int32_t, channels> sums;
    sums.fill(half);
    const std::uint8_t* value = in + static_cast<std::size_t>(taps.first[i]) * channels;
    for (const std::int32_t* end = taps.weights.data() + taps.end[i]; weight < end; ++weight, value += channels)
      for (std::size_t c = 0; c < channels; ++c) sums[c] += *weight * value[c];
    for (const std::int32_t sum : sums) *out++ = rounded_value(sum);
  }
}

// With two weights of a half, as a box has them over two values, the sum is the mean rounded up.

std::uint8_t mean_of(int a, int b) {
  return static_cast<std::uint8_t>((a + b + 1) >> 1);
}

/// `means` is of the row's length.
template <std::size_t channels>
void halve_columns(std::span<const std::uint8_t> row, std::span<std::uint8_t> means, std::uint8_t* out) {
  // Each pixel with the next, of which every other is wanted: of such a loop the compiler makes vectors.
  for (std::size_t i = 0; i < row.size() - channels; ++i) means[i] = mean_of(row[i], row[i + channels]);
  for (std::size_t x = 0; x < row.size(); x += 2 * channels, out += channels)
    std::memcpy(out, means.data() + x, channels);
}

template <std::size_t channels>
Picture resample_columns(const Picture& picture, std::int64_t width, const ResampleFilter& filter) {
  const Taps taps = taps_of(picture.width, width, filter);
  Picture out = blank(picture.height, width, picture.channels);
  std::vector<std::uint8_t> means(row_values(picture));
  for (std::size_t y = 0; y < static_cast<std::size_t>(picture.height); ++y) {
    const std::uint8_t* from = picture.pixels.data() + y * row_values(picture);
    std::uint8_t* to = out.pixels.data() + y * row_values(out);
    if (taps.are_pairs)
      halve_columns<channels>({from, means.size()}, means, to);
    else
      weigh_columns<channels>(taps, from, to);
  }
  return out;
}

void halve_rows(std::span<const std::uint8_t> row, const std::uint8_t* next, std::uint8_t* out) {
  for (std::size_t i = 0; i < row.size(); ++i) out[i] = mean_of(row[i], next[i]);
}

/// The mean of as many rows as there are weights, each of the length of `sums`.
void weigh_rows(std::span<const std::int32_t> weights, const std::uint8_t* row, std::span<std::int32_t> sums,
                std::uint8_t* out) {
  std::ranges::fill(sums, half);
  for (const std::int32_t weight : weights) {
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += weight * row[i];
    row += sums.size();
  }
  for (std::size_t i = 0; i < sums.size(); ++i) out[i] = rounded_value(sums[i]);
}

Picture resample_rows(const Picture& picture, std::int64_t height, const ResampleFilter& filter) {
  const Taps taps = taps_of(picture.height, height, filter);
  Picture out = blank(height, picture.width, picture.channels);
  const std::size_t values = row_values(picture);
  std::vector<std::int32_t> sums(values);
  for (std::size_t y = 0; y < taps.first.size(); ++y) {
    const std::uint8_t* from = picture.pixels.data() + static_cast<std::size_t>(taps.first[y]) * values;
    std::uint8_t* to = out.pixels.data() + y * values;
    if (taps.are_pairs)
      halve_rows({from, values}, from + values, to);
    else
      weigh_rows(taps.weights_of(y), from, sums, to);
  }
  return out;
}

}  // namespace

Picture resample(const Picture& picture, std::int64_t height, std::int64_t width, const ResampleFilter& filter) {
  if (width == picture.width) return height == picture.height ? picture : resample_rows(picture, height, filter);
  const Picture columns =
      picture.channels == 1 ? resample_columns<1>(picture, width, filter) : resample_columns<3>(picture, width, filter);
  return height == picture.height ? columns : resample_rows(columns, height, filter);
}

}  // namespace couplet
