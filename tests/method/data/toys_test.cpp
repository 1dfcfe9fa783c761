// Toy distributions: densities that sum to 1, entropies by sums over grids, and points that are drawn from them.
#include "method/data/toys.h"

#include "method/data/image_source.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>

#include <cmath>

namespace couplet::testing {
namespace {

/// The middles of cells of this side over [-half, half]²: float64 [n, 2].
at::Tensor grid(double half, double side) {
  const auto count = static_cast<std::int64_t>(std::llround(2 * half / side));
  const at::Tensor along = (at::arange(count, at::kDouble) + 0.5) * side - half;
  return at::stack({along.repeat({count}), along.repeat_interleave(count)}, 1);
}

TEST(Toys, DensitiesSumToOneAndEntropiesAreTheirs) {
  for (const Toy& toy : toys()) {
    const double side = toy.name == "spiral" ? 0.078125 : 0.125;  // no more than the noise's deviation
    const at::Tensor log_p = toy.log_density(grid(5, side)), p = log_p.exp();
    EXPECT_NEAR(p.sum().item<double>() * side * side, 1, 1e-6) << toy.name;
    const at::Tensor terms = at::where(p > 0, -p * log_p, at::zeros_like(p));
    EXPECT_NEAR(terms.sum().item<double>() * side * side, toy.entropy, 1e-5) << toy.name;
  }
}

TEST(Toys, PointsAreOfTheirDensity) {
  constexpr std::int64_t count = 4000;
  for (const Toy& toy : toys()) {
    const at::Tensor points = toy_points(toy, false, 0, count);
    ASSERT_EQ(points.sizes(), (at::IntArrayRef{count, 2})) << toy.name;
    EXPECT_LT(points.abs().max().item<double>(), 4.5) << toy.name;
    const at::Tensor log_p = toy.log_density(points.to(at::kDouble));
    ASSERT_TRUE(log_p.isfinite().all().item<bool>()) << toy.name;
    const double error = log_p.std().item<double>() / std::sqrt(static_cast<double>(count));
    EXPECT_NEAR(-log_p.mean().item<double>(), toy.entropy, 4 * error + 1e-9) << toy.name;
  }
}

TEST(Toys, PointsDependOnTheirNumberAlone) {
  for (const Toy& toy : toys()) {
    const at::Tensor all = toy_points(toy, false, 0, 100);
    EXPECT_TRUE(all.narrow(0, 37, 20).equal(toy_points(toy, false, 37, 20))) << toy.name;
    EXPECT_FALSE(all.equal(toy_points(toy, true, 0, 100))) << toy.name << ": held-out points are others";
  }
}

TEST(Toys, EightGaussiansStandOnACircle) {
  const at::Tensor points = toy_points(find_toy("8gaussians"), false, 0, 8000).to(at::kDouble);
  // Mean square radius: 8 + 2 / 8.
  EXPECT_NEAR(points.square().sum(1).mean().item<double>(), 8.25, 0.1);
  EXPECT_NEAR(points.mean().item<double>(), 0, 0.05);
  const at::Tensor turns = (at::atan2(points.select(1, 1), points.select(1, 0)) / (M_PI / 4)).round().remainder(8);
  for (int mode = 0; mode < 8; ++mode)
    EXPECT_NEAR(turns.eq(static_cast<double>(mode)).sum().item<double>(), 1000, 120) << mode;
}

TEST(Toys, TheBoardHasEverySecondSquare) {
  const at::Tensor points = toy_points(find_toy("checkerboard"), false, 0, 4000).to(at::kDouble);
  const at::Tensor cell = (points / 2).floor() + 2;
  EXPECT_TRUE(cell.sum(1).remainder(2).eq(0).all().item<bool>());
  const at::Tensor number = cell.select(1, 0) * 4 + cell.select(1, 1);
  for (int square = 0; square < 16; ++square) {
    const double found = number.eq(static_cast<double>(square)).sum().item<double>();
    EXPECT_NEAR(found, (square / 4 + square % 4) % 2 == 0 ? 500 : 0, 90) << square;
  }
}

TEST(Toys, TheSourceGivesFloats) {
  const SourceKind& kind = find_source("toy");
  SourceOptions options;
  options.toy = "moons";
  options.train_rows = 30;
  const ImageSource source = kind.open(options);
  EXPECT_EQ(source.classes, 0);
  EXPECT_EQ(source.train->type(), ElementType::float32);
  EXPECT_EQ(source.train->shape().image_text(), "2 x 1 x 1");
  EXPECT_EQ(source.train->shape().images, 30);
  EXPECT_EQ(source.test->shape().images, 5000);
  EXPECT_TRUE(source.train->read(3, 5).flatten(1).equal(toy_points(find_toy("moons"), false, 3, 5)));
  EXPECT_EQ(kind.density(options).entropy, find_toy("moons").entropy);
  EXPECT_NE(source.train->content_hash(), source.test->content_hash());
  options.toy = "moon";
  expect_error([&] { kind.open(options); }, {"unknown toy 'moon'", "did you mean 'moons'"});
}

}  // namespace
}  // namespace couplet::testing
