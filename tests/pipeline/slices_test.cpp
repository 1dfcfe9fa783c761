#include "pipeline/slices.h"

#include "ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace couplet {
namespace {

/// Row r of the work: {r, r²}.
at::Tensor rows_from(std::int64_t first, std::int64_t count) {
  const at::Tensor rows = at::arange(first, first + count, at::kDouble);
  return at::stack({rows, rows.square()}, 1);
}

TEST(Slices, EveryRowReachesEveryRankOnceInOrder) {
  for (const std::int64_t all : {1, 3, 7, 12, 13}) {
    std::vector<at::Tensor> seen;
    std::set<std::int64_t> made;
    for_each_slice(
        ranks(), {.rows = all, .slice_rows = 3, .columns = 2, .stopped = ""},
        [&](std::int64_t first) {
          EXPECT_TRUE(made.insert(first).second) << "slice " << first << " was made twice";
          return rows_from(first, 3);  // beyond the last row too: those are dropped
        },
        [&](const at::Tensor& values) { seen.push_back(values.clone()); });
    EXPECT_TRUE(at::equal(at::cat(seen), rows_from(0, all))) << all << " rows";
    const at::Tensor slices = ranks().all_gather(at::full({1}, static_cast<std::int64_t>(made.size()), at::kLong));
    EXPECT_EQ(slices.sum().item<std::int64_t>(), (all + 2) / 3) << "slices made over all ranks";
  }
}

TEST(Slices, TheLastSliceMayBeShort) {
  std::vector<at::Tensor> seen;
  for_each_slice(
      ranks(), {.rows = 5, .slice_rows = 4, .columns = 2, .stopped = ""},
      [](std::int64_t first) { return rows_from(first, std::min<std::int64_t>(4, 5 - first)); },
      [&](const at::Tensor& values) { seen.push_back(values.clone()); });
  EXPECT_TRUE(at::equal(at::cat(seen), rows_from(0, 5)));
}

}  // namespace
}  // namespace couplet
