#include "stages/couple/round_trip.h"

#include "method/models/patches.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <limits>

namespace couplet::testing {
namespace {

const TarFlowOptions small{.in_channels = 2,
                           .image_size = 6,
                           .patch = 2,
                           .channels = 24,
                           .blocks = 3,
                           .layers = {1},
                           .head_size = 8,
                           .num_classes = 4,
                           .nvp = true};

/// A model that maps every image to itself: no weight and no bias behind its last layers.
TarFlow identity() {
  auto model = make_tarflow(small, 1);
  const at::NoGradGuard no_grad;
  for (auto& block : model->blocks()) {
    block->proj_out->weight.zero_();
    block->proj_out->bias.zero_();
  }
  return model;
}

at::Tensor norms(const at::Tensor& rows) {
  return rows.flatten(1).to(at::kDouble).square().sum(1).sqrt();
}

/// The column for 23 rows handed over in slices of 10 (the last padded), `stored` as a function of x.
at::Tensor measure(TarFlow model, double share, const at::Tensor& x, const at::Tensor& stored,
                   nlohmann::json* summary) {
  RoundTrip round_trip(model, at::kCPU, x.size(0), share, 4);
  const at::Tensor label = at::arange(x.size(0), at::kInt).remainder(4);
  for (std::int64_t first = 0; first < x.size(0); first += 10) {
    const std::int64_t count = std::min<std::int64_t>(10, x.size(0) - first);
    const at::Tensor rows = at::arange(first, first + 10).clamp_max(x.size(0) - 1);
    round_trip.add(first, count, stored.index_select(0, rows), x.index_select(0, rows), label.index_select(0, rows));
  }
  const at::Tensor column = round_trip.finish();
  if (summary) *summary = round_trip.summary();
  return column;
}

at::Tensor images() {
  return at::randn({23, 2, 6, 6}, at::detail::createCPUGenerator(3)).clamp(-2, 2);
}

// What comes back is what was stored.
TEST(RoundTrip, OfTheIdentityIsTheRoundingOfTheStoredType) {
  const at::Tensor x = images(), stored = x.to(at::kHalf);
  nlohmann::json summary;
  const at::Tensor column = measure(identity(), 1, x, stored, &summary);
  const at::Tensor expected = norms(stored.to(at::kFloat) - x);
  EXPECT_GT(expected.min().item<double>(), 1e-4);
  EXPECT_TRUE(at::allclose(column.to(at::kDouble), expected, 1e-4, 1e-6)) << column << expected;
  EXPECT_EQ(summary["round_trip_rows"], 23);
  EXPECT_NEAR(summary["round_trip_sum"].get<double>(), expected.sum().item<double>(), 1e-4);
  EXPECT_NEAR(summary["round_trip_max"].get<double>(), expected.max().item<double>(), 1e-5);
}

TEST(RoundTrip, SeesEachMeasuredRowsOwnErrorAndLeavesTheOthersOut) {
  const at::Tensor x = images();
  const at::Tensor error = at::arange(23).view({-1, 1, 1, 1}).expand_as(x) * 0.01;  // row i: 0.01 i √72
  nlohmann::json summary;
  const at::Tensor column = measure(identity(), 0.25, x, x + error, &summary);
  for (std::int64_t row = 0; row < 23; ++row) {
    const double expected = row % 4 == 0 ? 0.01 * static_cast<double>(row) * std::sqrt(72.0) : -1;
    EXPECT_NEAR(column[row].item<double>(), expected, 1e-5) << row;
  }
  EXPECT_EQ(summary["round_trip_rows"], 6);
}

TEST(RoundTrip, OfATrainedModelUsesEachRowsLabel) {
  auto model = make_tarflow(small, 5);
  const at::NoGradGuard no_grad;
  for (auto& block : model->blocks()) block->proj_out->weight.normal_(0, 0.04);
  const at::Tensor x = images(), label = at::arange(23).remainder(4);
  const at::Tensor f = unpatchify(model->standardised(model(x, label).z), 2, 6, 2);
  EXPECT_LE(measure(model, 1, x, f, nullptr).max().item<double>(), 1e-4);
  const at::Tensor others = unpatchify(model->standardised(model(x, (label + 1).remainder(4)).z), 2, 6, 2);
  EXPECT_GT(measure(model, 1, x, others, nullptr).min().item<double>(), 1e-3);
}

TEST(RoundTrip, OfNoiseThatIsNotFiniteIsTheLargestFloatAndOfNoRowsNothing) {
  at::Tensor stored = images().clone();
  stored[8][0][0][0] = std::numeric_limits<float>::quiet_NaN();
  nlohmann::json summary;
  const at::Tensor column = measure(identity(), 1, images(), stored, &summary);
  EXPECT_EQ(column[8].item<float>(), std::numeric_limits<float>::max());
  EXPECT_TRUE(column.isfinite().all().item<bool>());
  EXPECT_TRUE(measure(identity(), 0, images(), stored, &summary).eq(-1).all().item<bool>());
  EXPECT_EQ(summary["round_trip_rows"], 0);
}

}  // namespace
}  // namespace couplet::testing
