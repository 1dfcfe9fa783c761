#include "method/statistics/image_statistics.h"

#include "storage/error.h"

#include <cmath>
#include <limits>

namespace couplet {

ChannelStatistics::ChannelStatistics(std::int64_t channels)
    : sums_(static_cast<std::size_t>(channels)), squares_(static_cast<std::size_t>(channels)) {
  if (channels < 1) fail("figures over images of {} channels", channels);
}

void ChannelStatistics::add(std::span<const std::uint8_t> images, std::int64_t pixels) {
  const auto plane = static_cast<std::size_t>(pixels);
  if (pixels < 1 || images.size() % (plane * sums_.size()) != 0)
    fail("{} values are no whole images of {} channels of {} pixels", images.size(), sums_.size(), pixels);
  for (std::size_t at = 0, channel = 0; at < images.size(); at += plane, channel = (channel + 1) % sums_.size()) {
    std::uint64_t sum = 0, square = 0;
    for (const std::uint32_t value : images.subspan(at, plane)) {
      sum += value;
      square += value * value;
    }
    sums_[channel] += sum;
    squares_[channel] += square;
  }
  values_ += static_cast<std::int64_t>(images.size() / sums_.size());
}

double ChannelStatistics::mean(std::int64_t channel) const {
  if (values_ == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(sums_[static_cast<std::size_t>(channel)]) / static_cast<double>(values_);
}

double ChannelStatistics::deviation(std::int64_t channel) const {
  if (values_ == 0) return std::numeric_limits<double>::quiet_NaN();
  const std::size_t c = static_cast<std::size_t>(channel);
  // n Σx² - (Σx)² is exact in whole numbers, where the difference of the means of squares would cancel.
  const auto n = static_cast<unsigned __int128>(values_);
  const auto spread = n * squares_[c] - static_cast<unsigned __int128>(sums_[c]) * sums_[c];
  return std::sqrt(static_cast<double>(spread)) / static_cast<double>(values_);
}

}  // namespace couplet
