// Figures over the pixels of a data set, added up as its rows are read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace couplet {

/// Mean and deviation of 8-bit pixels by channel. Sums are whole numbers: the figures are exact, and the same in
/// whatever order the images come. They hold up to 2^48 values a channel.
class ChannelStatistics {
public:
  explicit ChannelStatistics(std::int64_t channels);
  /// Whole images [C, H, W], one after the other, of `pixels` = H · W.
  void add(std::span<const std::uint8_t> images, std::int64_t pixels);

  std::int64_t channels() const { return static_cast<std::int64_t>(sums_.size()); }
  /// Of values 0-255; NaN without images. The deviation is that of the population (divided by n).
  double mean(std::int64_t channel) const;
  double deviation(std::int64_t channel) const;

private:
  std::int64_t values_ = 0;  ///< of each channel
  std::vector<std::uint64_t> sums_, squares_;
};

}  // namespace couplet
