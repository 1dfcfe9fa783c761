#include "method/data/held_out_split.h"

#include "tests/storage/storage_testing.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace couplet::testing {
namespace {

/// Class c has `sizes[c]` rows, the classes' rows mixed.
std::vector<std::int32_t> mixed_labels(std::vector<std::int64_t> sizes) {
  std::vector<std::int32_t> labels;
  for (bool more = true; more;) {
    more = false;
    for (std::size_t c = 0; c < sizes.size(); ++c) {
      if (sizes[c] == 0) continue;
      --sizes[c];
      labels.push_back(static_cast<std::int32_t>(c));
      more = true;
    }
  }
  return labels;
}

HeldOutSplit split_of(const std::vector<std::int32_t>& labels, const HeldOutOptions& options) {
  return hold_out("set", static_cast<std::int64_t>(labels.size()), labels, options);
}

std::map<std::int32_t, std::int64_t> counts_of(const std::vector<std::int64_t>& rows,
                                               const std::vector<std::int32_t>& labels) {
  std::map<std::int32_t, std::int64_t> counts;
  for (const std::int64_t row : rows) ++counts[labels[static_cast<std::size_t>(row)]];
  return counts;
}

TEST(HeldOutSplit, TheShareIsOfEachClassAndOneRowStays) {
  const auto labels = mixed_labels({100, 1, 2, 15, 14, 0, 40});
  const HeldOutSplit split = split_of(labels, {.share = 0.1, .seed = 3});
  EXPECT_EQ(counts_of(split.test, labels), (std::map<std::int32_t, std::int64_t>{{0, 10}, {3, 2}, {4, 1}, {6, 4}}));
  EXPECT_EQ(counts_of(split_of(labels, {.share = 0.999}).train, labels),
            (std::map<std::int32_t, std::int64_t>{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {6, 1}}));
}

TEST(HeldOutSplit, EveryRowIsInOneOfTheSplitsInTheSourcesOrder) {
  const auto labels = mixed_labels({50, 30, 20});
  const HeldOutSplit split = split_of(labels, {.share = 0.25});
  EXPECT_TRUE(std::ranges::is_sorted(split.train));
  EXPECT_TRUE(std::ranges::is_sorted(split.test));
  std::vector<std::int64_t> all = split.train;
  all.insert(all.end(), split.test.begin(), split.test.end());
  std::ranges::sort(all);
  ASSERT_EQ(all.size(), labels.size());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], static_cast<std::int64_t>(i));
}

TEST(HeldOutSplit, ItIsAFunctionOfTheSeedAndOfEachClassAlone) {
  const auto labels = mixed_labels({60, 60});
  const HeldOutSplit first = split_of(labels, {.share = 0.2, .seed = 1});
  EXPECT_EQ(first.test, split_of(labels, {.share = 0.2, .seed = 1}).test);
  EXPECT_NE(first.test, split_of(labels, {.share = 0.2, .seed = 2}).test);
  // The same rows of class 0 where another class is gone, and others than those of class 1.
  std::vector<std::int64_t> of_first, of_second;
  for (const std::int64_t row : first.test)
    (labels[static_cast<std::size_t>(row)] == 0 ? of_first : of_second).push_back(row / 2);
  EXPECT_EQ(split_of(mixed_labels({60}), {.share = 0.2, .seed = 1}).test, of_first);
  EXPECT_NE(of_first, of_second);
}

TEST(HeldOutSplit, ImagesWithoutLabelsAreOneClass) {
  const HeldOutSplit split = hold_out("set", 40, {}, {.share = 0.25, .seed = 7});
  EXPECT_EQ(split.test.size(), 10u);
  EXPECT_EQ(split.test, split_of(std::vector<std::int32_t>(40, 0), {.share = 0.25, .seed = 7}).test);
}

TEST(HeldOutSplit, LabelsMayBeLarge) {
  std::vector<std::int32_t> labels(20, 2'147'483'647);
  EXPECT_EQ(split_of(labels, {.share = 0.1}).test.size(), 2u);
}

TEST(HeldOutSplit, SharesThatHoldOutNothingOrAllAreRefused) {
  for (const double share : {0.0, 1.0, -0.5, 2.0, std::nan("")})
    expect_error([&] { hold_out("set", 40, {}, {.share = share}); }, {"prepare.held-out = ", "above 0 and below 1"});
  expect_error(
      [] {
        split_of(mixed_labels({4, 3, 1}), {.share = 0.1});
      },
      {"set: prepare.held-out = 0.1", "holds out no row", "more than 4"});
  EXPECT_EQ((HeldOutOptions{.share = 0.1, .seed = 5}.text()), "0.1 of each class, seed 5");
}

}  // namespace
}  // namespace couplet::testing
