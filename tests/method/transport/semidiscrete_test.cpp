// The choice of an atom and the potentials, on one rank and on several, against brute force and closed forms.
#include "method/transport/semidiscrete.h"

#include "method/transport/noise_assignment.h"
#include "method/transport/potentials.h"
#include "tests/method/transport/atoms_testing.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace couplet::testing {
namespace {

TEST(Semidiscrete, GroupsAreCutIntoBlocks) {
  const AtomBlocks blocks({1500, 0, 3, 1024});
  EXPECT_EQ(blocks.atoms(), 2527);
  EXPECT_EQ(blocks.blocks(), 4);
  EXPECT_EQ(blocks.block(1).atoms, 476);
  EXPECT_EQ(blocks.block(2).group, 2);
  EXPECT_EQ(blocks.size_of(1), 0);
  for (std::int64_t atom = 0; atom < blocks.atoms(); ++atom) {
    const AtomBlocks::Block& block = blocks.block(blocks.block_of(atom));
    ASSERT_TRUE(atom >= block.first && atom < block.first + block.atoms) << atom;
  }
  expect_contains(error_of([] { AtomBlocks({0, 0}); }), "no atoms");
}

/// The choice by one product and a plain search, in float64.
at::Tensor brute_force(const at::Tensor& noise, const at::Tensor& points, const at::Tensor& potentials,
                       std::int64_t first, std::int64_t count) {
  const at::Tensor scores =
      noise.to(at::kDouble).mm(points.to(at::kDouble).narrow(0, first, count).t()) + potentials.narrow(0, first, count);
  return scores.argmax(1) + first;
}

// Whole numbers: products are exact, in any order and type, and ties are many.
TEST(Semidiscrete, GoesToTheFirstOfTheBestAtoms) {
  const AtomBlocks blocks({2100, 0, 900});
  const at::Tensor points = (normal_points(3000, 3) * 2).round(), noise = (normal_points(1300, 3) * 3).round();
  const at::Tensor potentials = (normal_points(3000, 1).view({-1}) * 3).round().to(at::kDouble);
  const Atoms atoms = atoms_of(blocks, points, ranks());
  const AtomChoice choice = atoms.choose(noise, atoms.own_column(potentials));
  EXPECT_TRUE(choice.atom[0].equal(brute_force(noise, points, potentials, 0, 2100)));
  EXPECT_TRUE(choice.atom[2].equal(brute_force(noise, points, potentials, 2100, 900)));
  EXPECT_TRUE(choice.atom[1].eq(-1).all().item<bool>()) << "nothing to go to";
  const at::Tensor chosen = points.index_select(0, choice.atom[0]);
  const at::Tensor score = (chosen * noise).sum(1) + potentials.index_select(0, choice.atom[0]);
  EXPECT_TRUE(choice.score[0].equal(score.to(at::kDouble)));
  const at::Tensor first = atoms.choose(noise, atoms.own_column(potentials), {2, 3}).atom;
  EXPECT_TRUE(first[2].equal(choice.atom[2]));
  EXPECT_TRUE(first[0].eq(-1).all().item<bool>()) << "was not asked";
}

TEST(Semidiscrete, ColumnsComeBackWhole) {
  const AtomBlocks blocks({2100, 0, 900, 5000});
  const Atoms atoms = atoms_of(blocks, normal_points(8000, 2), ranks());
  const at::Tensor values = at::arange(8000, at::kDouble);
  EXPECT_TRUE(atoms.whole(atoms.own_column(values)).equal(values));
}

TEST(Semidiscrete, PointsThatAreNotFiniteAreNamed) {
  const AtomBlocks blocks({3000});
  at::Tensor points = normal_points(3000, 2);
  points[2050][1] = std::numeric_limits<float>::quiet_NaN();
  expect_contains(error_of([&] { atoms_of(blocks, points, ranks()); }), "atom 2050");
}

struct Learnt {
  NamedTensors state;
  MassError error;
};

Learnt learn(const AtomBlocks& blocks, const at::Tensor& points, Communicator& communicator, std::int64_t steps,
             std::int64_t batch) {
  const Atoms atoms = atoms_of(blocks, points, communicator);
  PotentialDescent descent(atoms, normal_noise_of(points.size(1)), {.batch = batch, .steps = steps});
  while (!descent.done()) descent.advance();
  const MassError error = descent.mass_error(0.02);
  return {descent.state(), error};
}

TEST(Semidiscrete, TheBitsAreThoseOfOneRankAndOneThread) {
  const AtomBlocks blocks({2500, 700});
  const at::Tensor points = normal_points(3200, 37);
  const auto alone = make_single_communicator();
  at::set_num_threads(1);
  const Learnt expected = learn(blocks, points, *alone, 6, 1500);
  at::set_num_threads(3);
  const Learnt found = learn(blocks, points, ranks(), 6, 1500);
  at::set_num_threads(1);
  expect_bit_equal(found.state, expected.state);
  EXPECT_EQ(found.error.chi2, expected.error.chi2);
  EXPECT_EQ(found.error.standard_error, expected.error.standard_error);
}

TEST(Semidiscrete, GoesOnFromAStateAsIfItHadNotStopped) {
  const AtomBlocks blocks({1100});
  const at::Tensor points = normal_points(1100, 5);
  const Atoms atoms = atoms_of(blocks, points, ranks());
  PotentialDescent whole(atoms, normal_noise_of(5), {.batch = 64, .steps = 9});
  for (int i = 0; i < 4; ++i) whole.advance();
  PotentialDescent resumed(atoms, normal_noise_of(5), {.batch = 64, .steps = 9});
  resumed.restore(whole.state());
  EXPECT_EQ(resumed.steps_done(), 4);
  while (!whole.done()) whole.advance();
  while (!resumed.done()) resumed.advance();
  expect_bit_equal(resumed.state(), whole.state());
  expect_contains(error_of([&] { resumed.restore({{"potentials", at::zeros({7}, at::kDouble)}}); }), "[1100]");
}

// Of many atoms as of images: the shares even out, and the standard error tells how surely.
TEST(Semidiscrete, SharesBecomeEven) {
  const AtomBlocks blocks({512});
  const at::Tensor scale = (at::arange(20, at::kFloat) * -0.1).exp();
  const at::Tensor length = at::linspace(0.5, 2, 512).view({-1, 1});
  const at::Tensor points = normal_points(512, 20) * scale * 4 * length;
  const Learnt before = learn(blocks, points, ranks(), 0, 256), after = learn(blocks, points, ranks(), 400, 256);
  EXPECT_GT(before.error.chi2, 0.5);
  EXPECT_LT(after.error.chi2, 0.04);
  EXPECT_GT(after.error.standard_error, 0.005);
  EXPECT_LT(after.error.standard_error, 0.04) << "0.02 was asked for";
}

TEST(Semidiscrete, EachClassHasNoiseOfItsOwn) {
  const AtomBlocks blocks({40, 90});
  const at::Tensor points = normal_points(130, 3);
  const Atoms both = atoms_of(blocks, points, ranks());
  PotentialDescent descent(both, normal_noise_of(3), {.batch = 128, .steps = 30});
  while (!descent.done()) descent.advance();
  const AtomBlocks one({90});
  const Atoms second = atoms_of(one, points.narrow(0, 40, 90), ranks());
  PotentialDescent alone(second, normal_noise_of(3), {.batch = 128, .steps = 30});
  while (!alone.done()) alone.advance();
  EXPECT_TRUE(descent.state().at("average").narrow(0, 40, 90).equal(alone.state().at("average")));
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
  const Atoms atoms = atoms_of(blocks, points, ranks());
  PotentialDescent descent(atoms, normal_noise_of(points.size(1)),
                           {.batch = 256, .steps = 1200, .rate_factor = rate_factor});
  while (!descent.done()) descent.advance();
  average = atoms.whole(descent.average());
  return assign_noises(atoms, descent.average(), draws, normal_noise_of(points.size(1)), [](std::int64_t) {});
}

TEST(Semidiscrete, TwoGaussiansOnALineCostWhatTheyMust) {
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
TEST(Semidiscrete, EightGaussiansAreNearTheirDualBound) {
  const at::Tensor angle = at::arange(256).remainder(8) * (std::numbers::pi / 4);
  at::Tensor points = at::stack({angle.cos(), angle.sin()}, 1).to(at::kFloat) * 3 + normal_points(256, 2) * 0.2;
  points = points - points.mean(0);
  at::Tensor average;
  const AtomBlocks blocks({256});
  const auto assigned = learn_and_assign(blocks, points, 100, 0.05, average);
  const at::Tensor noise = normal_noise_of(2)(0, std::ssize(assigned));
  const Atoms atoms = atoms_of(blocks, points, ranks());
  const double dual =
      atoms.choose(noise, atoms.own_column(average)).score.mean().item<double>() - average.mean().item<double>();
  const double squares = noise.square().sum(1).mean().item<double>() + points.square().sum(1).mean().item<double>();
  const double cost = cost_of(noise, points, assigned), bound = squares - 2 * dual;
  EXPECT_NEAR(cost / bound, 1, 0.05);
  EXPECT_GT(squares / bound, 2) << "what chance costs";
  const at::Tensor shares = at::bincount(at::tensor(assigned, at::kLong), {}, 256).to(at::kDouble) / 100;
  EXPECT_LT((shares - 1).square().mean().item<double>(), 0.05 + 1.0 / 100);
}

TEST(Semidiscrete, NoisesOfAClassAreNumberedAndAssignedWithinIt) {
  const AtomBlocks blocks({30, 0, 50});
  const at::Tensor points = normal_points(80, 4);
  const Atoms atoms = atoms_of(blocks, points, ranks());
  std::int64_t last = 0;
  const auto assigned = assign_noises(atoms, atoms.zero_column(), 200, normal_noise_of(4), [&](std::int64_t done) {
    EXPECT_GT(done, last);
    last = done;
  });
  ASSERT_EQ(std::ssize(assigned), 16000);
  EXPECT_EQ(last, 16000);
  const at::Tensor zero = at::zeros({80}, at::kDouble), found = at::tensor(assigned, at::kLong);
  EXPECT_TRUE(found.narrow(0, 0, 6000).equal(brute_force(normal_noise_of(4)(0, 6000), points, zero, 0, 30)));
  EXPECT_TRUE(found.narrow(0, 6000, 10000).equal(brute_force(normal_noise_of(4)(6000, 10000), points, zero, 30, 50)));
  const NoisesOfRows sorted = noises_of_rows({2, 0, 2, 1, 2}, {1, 2, 0});
  EXPECT_EQ(sorted.firsts, (std::vector<std::int64_t>{0, 3, 4, 5}));
  EXPECT_EQ(sorted.noises, (std::vector<std::int64_t>{0, 2, 4, 1, 3}));
}

}  // namespace
}  // namespace couplet::testing
