// Sheets of samples, whatever the number of classes.
#include "stages/evaluate/pictures.h"

#include "storage/formats/picture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

namespace couplet {
namespace {

constexpr std::int64_t side = 8, gap = 2;

class Sheet : public ::testing::TestWithParam<std::int64_t> {
protected:
  std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) / ("sheet_test-" + std::to_string(GetParam()) + ".png");

  void TearDown() override { std::filesystem::remove(path); }

  /// Sample i is of class i modulo the number of classes, which its grey tells.
  static at::Tensor samples(std::int64_t count, std::int64_t classes) {
    return (at::arange(count) % classes % 251).to(at::kByte).view({count, 1, 1, 1}).expand({count, 1, side, side});
  }

  Picture published(const at::Tensor& images) const {
    publish_sheet(path, images);
    return read_png(path);
  }
};

/// Classes of a data set.
TEST_P(Sheet, HasTenColumnsAndTheRowsAskedFor) {
  const Picture sheet = published(samples(sheet_images(8), GetParam()));
  ASSERT_EQ(sheet.width, 10 * (side + gap) - gap);
  ASSERT_EQ(sheet.height, 8 * (side + gap) - gap);
  for (std::int64_t i = 0; i < 80; ++i) {
    const std::int64_t y = i / 10 * (side + gap), x = i % 10 * (side + gap);
    ASSERT_EQ(sheet.pixels.at(static_cast<std::size_t>((y + side - 1) * sheet.width + x)), i % GetParam() % 251)
        << "sample " << i;
  }
}

TEST_P(Sheet, OfFewSamplesHasFewerColumns) {
  const Picture sheet = published(samples(4, GetParam()));
  EXPECT_EQ(sheet.width, 4 * (side + gap) - gap);
  EXPECT_EQ(sheet.height, side);
}

INSTANTIATE_TEST_SUITE_P(Classes, Sheet, ::testing::Values(1, 3, 10, 1000));

}  // namespace
}  // namespace couplet
