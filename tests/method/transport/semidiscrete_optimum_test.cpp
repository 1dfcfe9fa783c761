// Whole problems whose optimum is known: on a line from quantiles, in the plane from the dual.
#include "method/transport/noise_assignment.h"
#include "method/transport/potentials.h"
#include "tests/method/transport/atoms_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace couplet::testing {
namespace {

// Of many atoms as of images: the shares even out, and the standard error tells how surely.
TEST(SemidiscreteOptimum, SharesBecomeEven) {
  const AtomBlocks blocks({512});
  const at::Tensor scale = (at::arange(20, at::kFloat) * -0.1).exp();
  const at::Tensor length = at::linspace(0.5, 2, 512).view({-1, 1});
  const at::Tensor points = normal_points(512, 20) * scale * 4 * length;
  const auto alone = make_single_communicator();
  const Atoms atoms = atoms_of(blocks, points, *alone);
  PotentialDescent descent(atoms, normal_noise_of(20), {.batch = 256, .steps = 400});
  EXPECT_GT(descent.mass_error(0.02).chi2, 0.5);
  while (!descent.done()) descent.advance();
  const MassError after = descent.mass_error(0.02);
  EXPECT_LT(after.chi2, 0.04);
  EXPECT_GT(after.standard_error, 0.005);
  EXPECT_LT(after.standard_error, 0.04) << "0.02 was asked for";
}

/// Of noises in one dimension and atoms of equal mass the cheapest plan is known: atom j of the sorted ones takes the
/// normal quantiles from j/N to (j + 1)/N. Returns E z x of it.
double best_product(const at::Tensor& points) {
  const at::Tensor sorted = std::get<0>(points.view({-1}).to(at::kDouble).sort());
  const std::int64_t atoms = sorted.numel();
  const at::Tensor cuts = at::special_ndtri(at::arange(atoms + 1, at::kDouble) / static_cast<double>(atoms));
  const at::Tensor density = (cuts.square() * -0.5).exp() / std::sqrt(2 * std::numbers::pi);
  return (sorted * (density.narrow(0, 0, atoms) - density.narrow(0, 1, atoms))).sum().item<double>();
}

/// What an assignment of noises costs: the mean of ‖z - x‖².
double cost_of(const at::Tensor& noise, const at::Tensor& points, const std::vector<std::int64_t>& atom_of_noise) {
  const at::Tensor chosen = points.index_select(0, at::tensor(atom_of_noise, at::kLong));
  return (noise - chosen).square().sum(1).mean().item<double>();
}

std::vector<std::int64_t> learn_and_assign(const AtomBlocks& blocks, const at::Tensor& points, std::int64_t draws,
                                           double rate_factor, at::Tensor& average) {
  const auto alone = make_single_communicator();
  const Atoms atoms = atoms_of(blocks, points, *alone);
  PotentialDescent descent(atoms, normal_noise_of(points.size(1)),
                           {.batch = 256, .steps = 1200, .rate_factor = rate_factor});
  while (!descent.done()) descent.advance();
  average = atoms.whole(descent.average());
  return assign_noises(atoms, descent.average(), draws, normal_noise_of(points.size(1)), [](std::int64_t) {});
}

TEST(SemidiscreteOptimum, TwoGaussiansOnALineCostWhatTheyMust) {
  const at::Tensor centre = at::where(at::arange(64).remainder(2).eq(0), 2.0, -1.5).to(at::kFloat).view({-1, 1});
  at::Tensor points = normal_points(64, 1) * 0.3 + centre;
  points = points - points.mean();
  at::Tensor average;
  const AtomBlocks blocks({64});
  const auto assigned = learn_and_assign(blocks, points, 200, 0.02, average);
  const double cost = cost_of(normal_noise_of(1)(0, std::ssize(assigned)), points, assigned);
  const double square = points.square().mean().item<double>(), best = 1 + square - 2 * best_product(points);
  EXPECT_NEAR(cost / best, 1, 0.05);
  EXPECT_GT((1 + square) / best, 3) << "what chance costs";
}

// For any potentials Φ is an upper bound of E⟨z, x⟩ over all plans: a cost near what follows from it is near the best.
TEST(SemidiscreteOptimum, EightGaussiansAreNearTheirDualBound) {
  const at::Tensor angle = at::arange(256).remainder(8) * (std::numbers::pi / 4);
  at::Tensor points = at::stack({angle.cos(), angle.sin()}, 1).to(at::kFloat) * 3 + normal_points(256, 2) * 0.2;
  points = points - points.mean(0);
  at::Tensor average;
  const AtomBlocks blocks({256});
  const auto assigned = learn_and_assign(blocks, points, 100, 0.05, average);
  const at::Tensor noise = normal_noise_of(2)(0, std::ssize(assigned));
  const auto alone = make_single_communicator();
  const Atoms atoms = atoms_of(blocks, points, *alone);
  const double dual =
      atoms.choose(noise, atoms.own_column(average)).score.mean().item<double>() - average.mean().item<double>();
  const double squares = noise.square().sum(1).mean().item<double>() + points.square().sum(1).mean().item<double>();
  const double cost = cost_of(noise, points, assigned), bound = squares - 2 * dual;
  EXPECT_NEAR(cost / bound, 1, 0.05);
  EXPECT_GT(squares / bound, 2) << "what chance costs";
  const at::Tensor shares = at::bincount(at::tensor(assigned, at::kLong), {}, 256).to(at::kDouble) / 100;
  EXPECT_LT((shares - 1).square().mean().item<double>(), 0.05 + 1.0 / 100);
}

}  // namespace
}  // namespace couplet::testing
