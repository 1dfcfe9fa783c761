// What is kept of described images, and what is said of features that are not finite.
#include "method/scoring/described_images.h"

#include "storage/error.h"
#include "tests/method/scoring/pixel_network.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace couplet {
namespace {

class ImagesInMemory : public ImageSet {
public:
  explicit ImagesInMemory(at::Tensor images)
      : ImageSet("images.npz", {images.size(0), images.size(1), images.size(2), images.size(3)}),
        images_(std::move(images)) {}
  at::Tensor read(std::int64_t first, std::int64_t count) override { return images_.narrow(0, first, count); }

private:
  at::Tensor images_;
};

at::Tensor some_images(std::int64_t count) {
  at::manual_seed(4);
  return at::randint(0, 255, {count, 1, 4, 4}, at::kByte);
}

DescribedImages described(const at::Tensor& images, const at::Tensor& kept, bool breaks = false) {
  PixelNetwork network(breaks);
  ImagesInMemory set(images);
  const auto alone = make_single_communicator();
  return describe_images(network, set, kept, "", *alone);
}

/// Of how many of `classes` there are rows, for images in the order of their classes and for classes in turn.
std::vector<std::int64_t> classes_met(const at::Tensor& rows, std::int64_t all, std::int64_t classes) {
  const auto count = [](const at::Tensor& labels) { return std::get<0>(at::_unique(labels)).size(0); };
  return {count(rows.div(all / classes, "floor")), count(rows.remainder(classes))};
}

TEST(KeptRows, AreAscendingAndAsManyAsAskedFor) {
  for (const at::Tensor& rows : {even_rows(1000, 37), drawn_rows(1000, 37)}) {
    ASSERT_EQ(rows.size(0), 37);
    EXPECT_TRUE(rows.diff().gt(0).all().item<bool>());
    EXPECT_TRUE(rows.ge(0).logical_and(rows.lt(1000)).all().item<bool>());
  }
  EXPECT_TRUE(drawn_rows(1000, 37).equal(drawn_rows(1000, 37)));
  for (const std::int64_t kept : {20, 21}) {
    EXPECT_TRUE(even_rows(20, kept).equal(at::arange(20)));
    EXPECT_TRUE(drawn_rows(20, kept).equal(at::arange(20)));
  }
  EXPECT_EQ(even_rows(20, 0).size(0), 0);
  EXPECT_EQ(drawn_rows(20, 0).size(0), 0);
}

TEST(KeptRows, OfSamplesAreOfAllClassesInWhateverOrderTheseCome) {
  EXPECT_EQ(classes_met(drawn_rows(5000, 1000), 5000, 10), (std::vector<std::int64_t>{10, 10}));
  // The first rows miss classes of the one order, rows at even distances of the other.
  EXPECT_EQ(classes_met(at::arange(1000), 5000, 10)[0], 2);
  EXPECT_EQ(classes_met(even_rows(5000, 1000), 5000, 10)[1], 2);
}

TEST(DescribedImages, KeepTheFeaturesOfTheRowsAskedFor) {
  // More images than two slices hold.
  const at::Tensor images = some_images(620), features = PixelNetwork::features(images);
  for (const at::Tensor& kept : {drawn_rows(620, 100), even_rows(620, 7), at::tensor({249, 250, 619}, at::kLong),
                                 at::arange(620), at::arange(0)}) {
    const DescribedImages found = described(images, kept);
    EXPECT_TRUE(found.features().equal(features.index_select(0, kept)));
    EXPECT_EQ(found.moments().count, 620);
    EXPECT_TRUE(found.moments().mean().allclose(features.to(at::kDouble).mean(0)));
  }
}

TEST(DescribedImages, FeaturesThatAreNotFiniteNameTheNetworkAndTheImages) {
  at::Tensor images = some_images(300);
  images[260][0][0][0] = 255;
  try {
    described(images, at::arange(0), /*breaks=*/true);
    FAIL() << "took a feature that is not finite";
  } catch (const Error& error) {
    for (const char* part : {"images.npz", "pixels.pt", "1 of the 50 images from number 250 on", "not finite"})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace couplet
