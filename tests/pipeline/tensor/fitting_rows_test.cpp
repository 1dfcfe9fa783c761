// Rows at once on a GPU, tried with a stand-in for its memory. 10a555e took all rows at once there, whatever was free.
#include "pipeline/tensor/fitting_rows.h"

#include "pipeline/tensor/row_chunks.h"
#include "tests/pipeline/limited_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t mebibyte = 1 << 20;

/// Rows that take a MiB each, and 4 MiB besides, at their highest point. Notes how many were asked for at once.
struct Work {
  std::vector<std::int64_t> counts = {};
  std::int64_t most = 1000;  ///< with more at once memory runs out

  at::Tensor operator()(std::int64_t first, std::int64_t count) {
    counts.push_back(count);
    if (count > most) run_out_of_memory();
    at::empty({4 + count, mebibyte}, at::kByte);
    return at::arange(first, first + count, at::kLong);
  }
  at::Tensor all(std::int64_t n) {
    return fitting_rows(n, [this](std::int64_t first, std::int64_t count) { return (*this)(first, count); });
  }
};

using Counts = std::vector<std::int64_t>;

TEST(FittingRows, AreAllWhereNothingDividesThem) {
  Work work;
  EXPECT_TRUE(work.all(100).equal(at::arange(100)));
  EXPECT_EQ(work.counts, (Counts{100}));
  const FittingRows fitting(nullptr, 7, "rows");
  work.all(100);
  EXPECT_EQ(work.counts, (Counts{100, 100})) << "on a CPU";
}

TEST(FittingRows, AreAPowerOfTwoThatFitsAsMeasured) {
  LimitedMemory memory(100 * mebibyte);  // 90 of them are used: 86 rows
  FittingRows fitting(&memory, 0, "rows");
  Work work;
  EXPECT_TRUE(work.all(150).equal(at::arange(150)));
  EXPECT_EQ(work.counts, (Counts{1, 1, 2, 64, 64, 22})) << "one to warm up, one and two to measure";
  EXPECT_EQ(fitting.fewest(), 64);
  EXPECT_EQ(memory.measured, 2);
}

TEST(FittingRows, AreAllThatFitAndMeasuredOnce) {
  LimitedMemory memory(100 * mebibyte);
  FittingRows fitting(&memory, 0, "rows");
  Work work;
  work.all(80);
  work.all(86);
  EXPECT_EQ(work.counts, (Counts{1, 1, 2, 80, 86}));
  EXPECT_FALSE(fitting.fewest());
}

TEST(FittingRows, AreMeasuredForEachKindOfWork) {
  LimitedMemory memory(12 * mebibyte);
  FittingRows fitting(&memory, 0, "rows");
  Work work;
  const auto make = [&] { return work.all(8); };
  make();
  work.counts.clear();
  const at::NoGradGuard no_grad;
  make();
  EXPECT_EQ(work.counts, (Counts{1, 1, 2, 4, 4})) << "without gradients it may be less";
  std::vector<std::int64_t> small;
  fitting_rows(8, [&](std::int64_t first, std::int64_t count) {
    small.push_back(count);
    return at::arange(first, first + count);
  });
  EXPECT_EQ(small, (Counts{1, 1, 2, 8}));
}

TEST(FittingRows, AreHalvedWhereMemoryRunsOutAllTheSame) {
  LimitedMemory memory(1000 * mebibyte);
  FittingRows fitting(&memory, 0, "rows");
  Work work{.most = 9};
  EXPECT_TRUE(work.all(40).equal(at::arange(40)));
  EXPECT_EQ(work.counts, (Counts{1, 1, 2, 40, 32, 16, 8, 8, 8, 8, 8}));
  work.counts.clear();
  work.all(10);
  EXPECT_EQ(work.counts, (Counts{8, 2})) << "it remembers";
}

TEST(FittingRows, AreOneWhereTwoDoNotFit) {
  LimitedMemory memory(1000 * mebibyte);
  FittingRows fitting(&memory, 0, "rows");
  Work work{.most = 1};
  EXPECT_TRUE(work.all(3).equal(at::arange(3)));
  EXPECT_EQ(work.counts, (Counts{1, 1, 2, 1, 1, 1}));
}

std::string exhaustion_of(Work& work, std::int64_t rows) {
  LimitedMemory memory(1000 * mebibyte);
  FittingRows fitting(&memory, rows, "evaluate.rows-at-once");
  try {
    work.all(6);
  } catch (const MemoryExhausted& error) {
    return error.what();
  }
  return "";
}

TEST(FittingRows, ThatDoNotFitAreExplained) {
  Work none{.most = 0};
  const std::string one = exhaustion_of(none, 0);
  EXPECT_NE(one.find("memory ran out with 1 of 6 rows computed at once: not even one fits"), std::string::npos) << one;
  EXPECT_NE(one.find("(CUDA out of memory. Tried to allocate 2.00 GiB.)"), std::string::npos) << one;
  Work few{.most = 2};
  EXPECT_NE(exhaustion_of(few, 4).find("with 4 of 6 rows computed at once: a smaller evaluate.rows-at-once, or 0"),
            std::string::npos);
  EXPECT_EQ(few.counts, (Counts{4})) << "what the user sets is not changed";
  few.counts.clear();
  EXPECT_EQ(exhaustion_of(few, 2), "");
  EXPECT_EQ(few.counts, (Counts{2, 2, 2})) << "and not measured";
}

TEST(FittingRows, WithinRowsAreNotDividedAgain) {
  LimitedMemory memory(1000 * mebibyte);
  FittingRows fitting(&memory, 4, "rows");
  Work inner;
  const at::Tensor made = fitting_rows(8, [&](std::int64_t, std::int64_t count) { return inner.all(count); });
  EXPECT_EQ(inner.counts, (Counts{4, 4}));
  EXPECT_EQ(made.size(0), 8);
  inner.counts.clear();
  // Chunks of a CPU are rows at once here too, as what is within is divided.
  by_row_chunks(40, at::kCPU, [&](std::int64_t, std::int64_t count) { return inner.all(count); });
  EXPECT_EQ(inner.counts, (Counts(10, 4)));
}

TEST(FittingRows, OtherErrorsAreThrownOn) {
  LimitedMemory memory(1000 * mebibyte);
  FittingRows fitting(&memory, 0, "rows");
  EXPECT_THROW(fitting_rows(4, [](std::int64_t, std::int64_t) -> at::Tensor { fail("another"); }), Error);
  EXPECT_EQ(FittingRows::current(), &fitting);
}

}  // namespace
}  // namespace couplet
