// Resampling and crops against Pillow's pixels.
#include "method/data/crop.h"

#include "method/data/resample.h"
#include "tests/storage/images/image_references.h"
#include "tests/storage/storage_testing.h"

#include <fmt/format.h>

#include <utility>

namespace couplet::testing {
namespace {

void expect_equal(const Picture& found, const Picture& expected, const std::string& name) {
  EXPECT_EQ(found.height, expected.height) << name;
  EXPECT_EQ(found.width, expected.width) << name;
  EXPECT_EQ(found.channels, expected.channels) << name;
  EXPECT_EQ(found.pixels, expected.pixels) << name;
}

/// The red values alone, as a grey picture.
Picture red_of(const Picture& picture) {
  Picture red{picture.height, picture.width, 1, {}};
  for (std::size_t i = 0; i < picture.pixels.size(); i += 3) red.pixels.push_back(picture.pixels[i]);
  return red;
}

TEST(Resample, GivesPillowsPixels) {
  const ImageReferences references;
  const Picture picture = references.picture("picture");
  for (const ResampleFilter& filter : resample_filters())
    for (const auto& [height, width] : {std::pair{30, 23}, {61, 100}, {60, 9}, {17, 47}}) {
      const std::string name = fmt::format("resample-{}-{}x{}", filter.name, height, width);
      const Picture expected = references.picture(name);
      expect_equal(resample(picture, height, width, filter), expected, name);
      expect_equal(resample(red_of(picture), height, width, filter), red_of(expected), name + " of grey");
    }
  expect_equal(resample(picture, picture.height, picture.width, find_resample_filter("lanczos")), picture, "same size");
}

TEST(Resample, HalvingByBoxIsTheMeanRoundedUpEachTime) {
  const Picture picture{2, 4, 1, {0, 1, 255, 254, 0, 0, 255, 255}};
  const Picture halved = resample(picture, 1, 2, find_resample_filter("box"));
  EXPECT_EQ(halved.pixels, (std::vector<std::uint8_t>{1, 255}));  // not (0 + 1 + 0 + 0) / 4
}

TEST(Crop, GivesTheirPixels) {
  const ImageReferences references;
  const Picture picture = references.picture("picture");
  for (const char* kind : {"adm", "edm", "torchvision"})
    for (const int size : {11, 16, 64}) {
      const std::string name = fmt::format("crop-{}-{}", kind, size);
      const Picture found = find_crop(kind).apply(picture, size, find_resample_filter("box"));
      expect_equal(found, references.picture(name), name);
      expect_equal(find_crop(kind).apply(red_of(picture), size, find_resample_filter("box")), red_of(found), name);
    }
  for (const ResampleFilter& filter : resample_filters())
    expect_equal(find_crop("squeeze").apply(picture, 20, filter), resample(picture, 20, 20, filter), filter.name);
}

TEST(Crop, NoneTakesImagesAsTheyAre) {
  const Picture square{2, 2, 1, {1, 2, 3, 4}};
  const CropKind& none = find_crop("none");
  expect_equal(none.apply(square, 2, resample_filters().front()), square, "none");
  expect_error([&] { none.apply(square, 3, resample_filters().front()); }, {"2 x 2 pixels", "3 x 3"});
}

TEST(Crop, AdmIsFirstAndOthersHaveHelp) {
  EXPECT_EQ(crop_kinds().front().name, "adm");
  for (const CropKind& kind : crop_kinds()) EXPECT_FALSE(kind.help.empty()) << kind.name;
  for (const ResampleFilter& filter : resample_filters()) EXPECT_FALSE(filter.help.empty()) << filter.name;
}

TEST(Crop, WhatCannotBeMadeIsRefused) {
  expect_error([] { find_crop("admm"); }, {"unknown crop 'admm'", "'adm'", "torchvision"});
  expect_error([] { find_resample_filter("nearest"); }, {"unknown filter 'nearest'", "lanczos"});
  const Picture strip{1, 16'384, 1, std::vector<std::uint8_t>(16'384)};
  for (const char* kind : {"adm", "torchvision"})
    expect_error([&] { find_crop(kind).apply(strip, 256, resample_filters().front()); },
                 {"16384 x 1 pixels", "4194304 x 256", "at most 178956970"});
}

}  // namespace
}  // namespace couplet::testing
