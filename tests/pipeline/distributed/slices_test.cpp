#include "pipeline/distributed/slices.h"

#include "tests/pipeline/limited_memory.h"
#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>
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

// On 10a555e the rank whose memory ran out left alone, and the others waited for it.
TEST(Slices, MemoryThatRunsOutOnOneRankIsToldByAll) {
  const int bad = ranks().size() - 1;
  std::int64_t added = 0;
  std::string message;
  try {
    for_each_slice(
        ranks(), {.rows = 30, .slice_rows = 2, .columns = 2, .stopped = ""},
        [&](std::int64_t first) {
          if (first >= 12 && ranks().rank() == bad) run_out_of_memory();
          return rows_from(first, 2);
        },
        [&](const at::Tensor& values) { added += values.size(0); });
  } catch (const MemoryExhausted& error) {
    message = error.what();
  }
  EXPECT_EQ(message, fmt::format("rank {}: CUDA out of memory. Tried to allocate 2.00 GiB.", bad));
  EXPECT_EQ(added, 12) << "the rounds before";
  ranks().barrier();
}

/// A path that all ranks know, empty at first.
std::filesystem::path shared_file(const char* name) {
  const auto path = std::filesystem::temp_directory_path() /
                    ranks().broadcast_text(fmt::format("couplet-{}-{}", name, ::getpid()), 0);
  if (ranks().is_root()) std::filesystem::remove(path);
  ranks().barrier();
  return path;
}

TEST(Slices, GoOnFromTheirJournal) {
  const auto path = shared_file("slices");
  // The first attempt ends with an error in the middle, after which the file holds whole rounds only.
  const auto walk = [&](std::int64_t rows, const std::string& identity, std::int64_t last, std::int64_t& made) {
    std::vector<at::Tensor> seen;
    for_each_slice(
        ranks(), {.rows = rows, .slice_rows = 2, .columns = 2, .stopped = "", .journal = {path, identity}},
        [&](std::int64_t first) {
          ++made;
          return rows_from(first, 2);
        },
        [&](const at::Tensor& values) {
          seen.push_back(values.clone());
          if (values[0][0].item<double>() >= static_cast<double>(last)) throw std::runtime_error("killed");
        });
    return at::cat(seen);
  };
  std::int64_t before = 0, after = 0, again = 0, other = 0;
  EXPECT_THROW(walk(25, "squares", 12, before), std::runtime_error);
  EXPECT_TRUE(at::equal(walk(25, "squares", 100, after), rows_from(0, 25)));
  const auto all_made = [](std::int64_t mine) {
    return ranks().all_gather(at::full({1}, mine, at::kLong)).sum().item<std::int64_t>();
  };
  EXPECT_EQ(all_made(before) + all_made(after), 13) << "no slice is made twice, none is left out";
  EXPECT_GT(all_made(before), 5);
  // A whole journal makes nothing; one of other values, or of another number of rows, everything.
  EXPECT_TRUE(at::equal(walk(25, "squares", 100, again), rows_from(0, 25)));
  EXPECT_EQ(again, 0);
  EXPECT_TRUE(at::equal(walk(9, "squares", 100, other), rows_from(0, 9)));
  EXPECT_EQ(all_made(other), 5);
  ranks().barrier();
  if (ranks().is_root()) std::filesystem::remove(path);
}

}  // namespace
}  // namespace couplet
