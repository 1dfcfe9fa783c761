// Losses, gradients, steps, χ², choices and optima against ott-jax (tests/data/reference/semidiscrete.safetensors).
#include "method/transport/potentials.h"
#include "method/transport/soft_choice.h"
#include "tests/method/reference.h"
#include "tests/method/transport/atoms_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace couplet::testing {
namespace {

constexpr double tolerance = 1e-9;

class SemidiscreteReference : public ::testing::Test {
protected:
  ReferenceFile file{"semidiscrete"};
  at::Tensor y = file["y"], z = file["z"];
  std::int64_t atoms = y.size(0), batch = z.size(1), steps = z.size(0);
  std::unique_ptr<Communicator> alone = make_single_communicator();
  AtomBlocks blocks{{atoms}};

  double number(const std::string& name) const { return std::stod(file.metadata.at(name)); }
  /// b of the other library's potential for ‖z - y‖²: g = 2 b + ‖y‖².
  at::Tensor potentials(const at::Tensor& g) const { return (g - y.square().sum(1)) / 2; }
  /// Its loss: mean of f and mean of g, f(z) = ‖z‖² - 2 (max_j a_j), negated.
  double loss_of(const SoftDual& dual, const at::Tensor& noise) const {
    const double squares = noise.square().sum(1).mean().item<double>() + y.square().sum(1).mean().item<double>();
    return 2 * dual.value - squares;
  }
  /// The noises of the file's steps.
  NumberedNoise given_noise() const {
    return [this](std::int64_t first, std::int64_t count) { return z.view({-1, 2}).narrow(0, first, count); };
  }
};

TEST_F(SemidiscreteReference, LossesGradientsAndChi2) {
  for (const std::string kind : {"hard", "soft"}) {
    const double epsilon = kind == "hard" ? 0 : number("eps_dot");
    const at::Tensor g = file[kind + ".g"];
    for (std::int64_t step = 0; step < steps; ++step) {
      const SoftDual dual = soft_dual(z[step], y, potentials(g[step]), epsilon);
      EXPECT_NEAR(loss_of(dual, z[step]), file[kind + ".loss"][step].item<double>(), tolerance) << kind << step;
      if (step > 0) continue;
      EXPECT_LT(difference(dual.gradient, file[kind + ".grad0"]), tolerance) << kind;
      EXPECT_NEAR(dual.chi2, file[kind + ".chi2_0"].item<double>(), tolerance) << kind;
    }
  }
  const SoftDual soft = soft_dual(z[0], y, potentials(file["soft.g"][0]), number("eps_dot"));
  EXPECT_LT(difference(soft.probabilities.narrow(0, 0, 16), file["soft.prob"]), tolerance);
  double chi2 = 0;
  for (std::int64_t i = 0; i < 2; ++i)
    chi2 += soft_dual(file["hard.chi2_z"][i], y, potentials(file["hard.g"][0]), 0).chi2 / 2;
  EXPECT_NEAR(chi2, file["hard.chi2"].item<double>(), tolerance);
  EXPECT_THROW(soft_dual(z[0], y, potentials(file["soft.g"][0]), -1), Error);
}

TEST_F(SemidiscreteReference, StepsOfDescent) {
  const Atoms points = atoms_of(blocks, y, *alone);
  PotentialDescent descent(points, given_noise(),
                           {.batch = batch, .steps = steps, .constant_rate = number("lr_sq") / 2});
  const at::Tensor g = file["hard.g"];
  at::Tensor average = potentials(g[0]);
  descent.restore({{"potentials", potentials(g[0])}, {"average", average}, {"step", at::scalar_tensor(0, at::kLong)}});
  const at::Tensor first = points.choose(z[0], points.own_column(potentials(g[0]))).atom;
  EXPECT_TRUE(first[0].equal(file["hard.assign"]));
  EXPECT_NEAR(unbiased_chi2(blocks, first), file["hard.chi2_0"].item<double>(), tolerance);
  for (std::int64_t step = 0; step < steps; ++step) {
    descent.advance();
    const NamedTensors state = descent.state();
    EXPECT_LT(difference(state.at("potentials"), potentials(g[step + 1])), tolerance) << step;
    average = 0.99 * average + 0.01 * potentials(g[step + 1]);
    EXPECT_LT(difference(state.at("average"), average), tolerance) << step;
  }
  at::Tensor soft = potentials(file["soft.g"][0]);
  for (std::int64_t step = 0; step < steps; ++step) {
    soft = soft - number("lr_sq") / 2 * soft_dual(z[step], y, soft, number("eps_dot")).gradient;
    EXPECT_LT(difference(soft, potentials(file["soft.g"][step + 1])), tolerance) << step;
  }
}

// (The file's own averages, g_ema, weigh the newest iterate by 0.99.)

/// At the optimum every atom takes its share of the noise, within three standard errors.
void expect_even(const AtomBlocks& blocks, const at::Tensor& points, const at::Tensor& potentials,
                 Communicator& communicator) {
  constexpr std::int64_t noises = 1 << 17;
  const Atoms atoms = atoms_of(blocks, points, communicator);
  const at::Tensor chosen =
      atoms.choose(normal_noise_of(2, at::kDouble)(1 << 24, noises), atoms.own_column(potentials)).atom;
  for (std::int64_t group = 0; group < blocks.groups(); ++group) {
    const double share = 1 / static_cast<double>(blocks.size_of(group));
    const at::Tensor counts = at::bincount(chosen[group] - blocks.first_of(group), {}, blocks.size_of(group));
    const double error = std::sqrt(share * (1 - share) / noises);
    EXPECT_LT((counts.to(at::kDouble) / noises - share).abs().max().item<double>(), 3.5 * error) << group;
  }
}

TEST_F(SemidiscreteReference, TheOptimumIsTheOptimum) {
  expect_even(blocks, y, file["hard.b"], *alone);
}

TEST_F(SemidiscreteReference, DescentFindsTheOptimum) {
  const Atoms points = atoms_of(blocks, y - y.mean(0), *alone);
  PotentialDescent descent(points, normal_noise_of(2, at::kDouble), {.batch = 512, .steps = 1500});
  while (!descent.done()) descent.advance();
  const at::Tensor found = points.whole(descent.average()), best = file["hard.b"];
  // Scores of y and of y - ȳ differ by what is the same for all atoms.
  EXPECT_LT(difference(found - found.mean(), best - best.mean()), 0.03);
  constexpr std::int64_t noises = 1 << 16;
  const at::Tensor noise = normal_noise_of(2, at::kDouble)(1 << 24, noises);
  const at::Tensor scores = points.choose(noise, descent.average()).score[0];
  const double value = scores.mean().item<double>() - found.mean().item<double>();
  const double error = scores.std().item<double>() / std::sqrt(static_cast<double>(noises));
  EXPECT_NEAR(value, number("inner_optimum"), 3 * error);
  EXPECT_LT(std::abs(descent.mass_error(0.004).chi2), 0.01);
}

TEST_F(SemidiscreteReference, ClassesAreProblemsOfTheirOwn) {
  const at::Tensor label = file["label"], order = label.argsort(true, 0, false);
  const at::Tensor counts = at::bincount(label).to(at::kLong);
  const std::vector<std::int64_t> sizes(counts.const_data_ptr<std::int64_t>(),
                                        counts.const_data_ptr<std::int64_t>() + counts.numel());
  const AtomBlocks classes(sizes);
  const at::Tensor sorted = y.index_select(0, order), best = file["within.b"].index_select(0, order);
  expect_even(classes, sorted, best, *alone);
  const Atoms points = atoms_of(classes, sorted, *alone);
  PotentialDescent descent(points, normal_noise_of(2, at::kDouble), {.batch = 512, .steps = 1500});
  while (!descent.done()) descent.advance();
  const at::Tensor found = points.whole(descent.average());
  for (std::int64_t group = 0; group < classes.groups(); ++group) {
    const auto of_group = [&](const at::Tensor& b) {
      const at::Tensor own = b.narrow(0, classes.first_of(group), classes.size_of(group));
      return own - own.mean();
    };
    EXPECT_LT(difference(of_group(found), of_group(best)), 0.03) << group;
  }
}

}  // namespace
}  // namespace couplet::testing
