// The choice of an atom and the potentials, on one rank and on several, against brute force and closed forms.
#include "method/transport/semidiscrete.h"

#include "method/transport/noise_assignment.h"
#include "method/transport/potentials.h"
#include "tests/method/transport/atoms_testing.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/Parallel.h>

#include <limits>

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

TEST(Semidiscrete, StepsFollowFromTheLargestGroup) {
  EXPECT_EQ(descent_steps(AtomBlocks({30000, 60000}), 1024, 100), 5860);
  EXPECT_EQ(descent_steps(AtomBlocks({50, 20}), 1024, 100), 500);
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
