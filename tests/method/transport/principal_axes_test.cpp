// Principal axes against the directions that points were made along.
#include "method/transport/principal_axes.h"

#include "storage/error.h"
#include "tests/method/transport/atoms_testing.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace couplet::testing {
namespace {

/// Orthonormal columns.
at::Tensor directions(std::int64_t values) {
  return std::get<0>(at::linalg_qr(normal_points(values, values).to(at::kDouble)));
}

/// The axes of points that lie ± deviation_i along direction i, in slices.
PrincipalAxes axes_of(const at::Tensor& ways, const at::Tensor& deviations) {
  PrincipalAxes axes(ways.size(0));
  const at::Tensor points = (ways * deviations).t();
  axes.add(points.narrow(0, 0, 5));
  axes.add(points.narrow(0, 5, points.size(0) - 5));
  axes.add(-points);
  return axes;
}

TEST(PrincipalAxes, AreTheDirectionsOfLargestVariance) {
  const at::Tensor ways = directions(150), deviations = at::linspace(3, 0.1, 150, at::kDouble);
  const PrincipalAxes axes = axes_of(ways, deviations);
  const at::Tensor leading = axes.leading(4);
  EXPECT_EQ(leading.scalar_type(), at::kFloat);
  for (std::int64_t i = 0; i < 4; ++i) {
    const at::Tensor axis = leading.select(1, i).to(at::kDouble);
    EXPECT_NEAR(std::abs(axis.dot(ways.select(1, i)).item<double>()), 1, 1e-6) << i;
    EXPECT_GT(axis[axis.abs().argmax()].item<double>(), 0) << "the sign is settled";
  }
  const at::Tensor squares = deviations.square();
  EXPECT_NEAR(axes.share(leading), (squares.narrow(0, 0, 4).sum() / squares.sum()).item<double>(), 1e-6);
}

TEST(PrincipalAxes, AreTheSameForAnyNumberOfThreads) {
  const at::Tensor points = normal_points(300, 200);
  at::Tensor expected;
  for (const int threads : {1, 3}) {
    at::set_num_threads(threads);
    PrincipalAxes axes(200);
    axes.add(points);
    const at::Tensor found = axes.leading(7);
    if (threads == 1) expected = found;
    EXPECT_TRUE(found.equal(expected)) << threads;
  }
  at::set_num_threads(1);
}

TEST(PrincipalAxes, RefuseMoreThanThereAre) {
  EXPECT_THROW(PrincipalAxes(most_axes_values + 1), Error);
  EXPECT_THROW(PrincipalAxes(3).leading(4), Error);
}

}  // namespace
}  // namespace couplet::testing
