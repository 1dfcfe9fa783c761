#include "method/statistics/image_statistics.h"

#include "method/statistics/duplicate_images.h"
#include "tests/storage/storage_testing.h"

#include <cmath>
#include <numeric>

namespace couplet::testing {
namespace {

TEST(ChannelStatistics, MeanAndDeviationAreExactByChannel) {
  // Two images of two channels of four pixels.
  const std::vector<std::uint8_t> images{0, 0, 255, 255, 7, 7, 7, 7, 255, 0, 255, 0, 7, 7, 7, 7};
  ChannelStatistics statistics(2);
  statistics.add(std::span(images).first(8), 4);
  statistics.add(std::span(images).subspan(8), 4);
  EXPECT_EQ(statistics.channels(), 2);
  EXPECT_EQ(statistics.mean(0), 127.5);
  EXPECT_EQ(statistics.deviation(0), 127.5);
  EXPECT_EQ(statistics.mean(1), 7);
  EXPECT_EQ(statistics.deviation(1), 0);
}

TEST(ChannelStatistics, TheyAreThoseOfTheDefinitionForManyValues) {
  std::vector<std::uint8_t> image(3 * 64 * 64);
  ChannelStatistics statistics(3);
  std::vector<double> values;
  for (int i = 0; i < 50; ++i) {
    for (std::size_t v = 0; v < image.size(); ++v)
      image[v] = static_cast<std::uint8_t>(200 + (v * 31 + static_cast<std::size_t>(i) * 17) % 55);
    statistics.add(image, 64 * 64);
    values.insert(values.end(), image.begin() + 64 * 64, image.begin() + 2 * 64 * 64);
  }
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  EXPECT_NEAR(statistics.mean(1), mean, 1e-9);
  EXPECT_NEAR(statistics.deviation(1), std::sqrt(squares / static_cast<double>(values.size())), 1e-9);
}

TEST(ChannelStatistics, WithoutImagesThereAreNoFigures) {
  EXPECT_TRUE(std::isnan(ChannelStatistics(1).mean(0)));
  EXPECT_TRUE(std::isnan(ChannelStatistics(1).deviation(0)));
  expect_error([] { ChannelStatistics(2).add(std::vector<std::uint8_t>(7), 4); }, {"7 values are no whole images"});
}

/// A split whose row i has the pixels that number i of `kinds` stands for.
ImageHashes hashes_of(const std::vector<int>& kinds) {
  ImageHashes hashes;
  for (const int kind : kinds) {
    std::vector<std::byte> image(48, std::byte{1});
    image[static_cast<std::size_t>(kind) % 48] = static_cast<std::byte>(2 + kind / 48);
    hashes.add(image);
  }
  return hashes;
}

TEST(DuplicateImages, RowsOfEqualPixelsAreCountedWithinAndBetweenSplits) {
  const DuplicateImages found = find_duplicates(hashes_of({1, 2, 3, 2, 4, 2, 9}), hashes_of({5, 2, 9, 2, 6, 9, 7}));
  EXPECT_EQ(found.repeated_in_training, 2);
  EXPECT_EQ(found.repeated_in_held_out, 2);
  EXPECT_EQ(found.held_out_in_training, 4);
  EXPECT_EQ(found.examples, (std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 1}, {5, 1}, {6, 2}}));
  EXPECT_EQ(find_duplicates(hashes_of({2, 2, 2}), hashes_of({2}), 2).examples.size(), 2u);
}

TEST(DuplicateImages, OneBitMakesAnotherImage) {
  std::vector<int> training(1000), held_out(300);
  std::iota(training.begin(), training.end(), 0);
  std::iota(held_out.begin(), held_out.end(), 1000);
  const DuplicateImages found = find_duplicates(hashes_of(training), hashes_of(held_out));
  EXPECT_EQ(found.repeated_in_training, 0);
  EXPECT_EQ(found.repeated_in_held_out, 0);
  EXPECT_EQ(found.held_out_in_training, 0);
  EXPECT_TRUE(found.examples.empty());
  EXPECT_EQ(find_duplicates({}, {}).held_out_in_training, 0);
}

}  // namespace
}  // namespace couplet::testing
