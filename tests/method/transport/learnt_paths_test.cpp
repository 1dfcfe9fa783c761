// What couplings are for: the paths that a network learns from their pairs, on problems whose optimum is known.
#include "method/models/field.h"
#include "method/objectives/objective.h"
#include "method/sampling/guided_field.h"
#include "method/solvers/trajectory.h"
#include "method/transport/assignment.h"
#include "method/transport/batch_assignment.h"
#include "method/transport/noise_assignment.h"
#include "method/transport/potentials.h"
#include "tests/method/transport/atoms_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <numbers>
#include <span>
#include <string>

namespace couplet::testing {
namespace {

constexpr std::int64_t atoms = 1024, draws = 16, pairs = atoms * draws;

/// A problem in the plane: points [atoms, 2], which stand for images, and noise.
struct Toy {
  at::Tensor points;
  NumberedNoise noise;
  double optimum = 0;  ///< E‖z - x‖² of the best plan
};

struct PlanePairs {
  at::Tensor x, z;  ///< [pairs, 2]
  double cost() const { return (z - x).square().sum(1).mean().item<double>(); }
};

/// The best plan of two Gaussians: W₂² = ‖m‖² + tr(I + S - 2 S^½), here of S with axes of deviations 1.6 and 0.3.
Toy two_gaussians() {
  const at::Tensor turned = at::tensor({0.8F, 0.6F, -0.6F, 0.8F}).view({2, 2});
  at::Tensor normal = normal_points(atoms, 2);
  normal = normal - normal.mean(0);
  const at::Tensor spread = at::linalg_cholesky(normal.t().mm(normal) / atoms);
  normal = at::linalg_solve_triangular(spread, normal.t(), false).t();  // of unit covariance, exactly
  const at::Tensor points = (normal * at::tensor({1.6F, 0.3F})).mm(turned) + at::tensor({1.0F, -0.5F});
  return {points, normal_noise_of(2), 1.25 + 0.6 * 0.6 + 0.7 * 0.7};
}

/// The plane's usual example, 3.5 times smaller. Its optimum: that of many noises and points, by the exact solver.
Toy eight_gaussians_to_moons() {
  const at::Tensor angle = at::linspace(0, std::numbers::pi, atoms / 2), cosine = angle.cos(), sine = angle.sin();
  const at::Tensor moons = at::cat({at::stack({cosine, sine}, 1), at::stack({1 - cosine, 0.5 - sine}, 1)});
  const at::Tensor points = (moons * 3 - 1 + normal_points(atoms, 2) * 0.3) / 3.5;
  const NumberedNoise ring = [normal = normal_noise_of(2)](std::int64_t first, std::int64_t count) {
    const at::Tensor turn = at::arange(first, first + count).remainder(8) * (std::numbers::pi / 4);
    return ((at::stack({turn.cos(), turn.sin()}, 1) * 5 + normal(first, count) * std::sqrt(0.1)) / 3.5).to(at::kFloat);
  };
  constexpr std::int64_t times = 4;
  const at::Tensor cost = squared_distances(points.repeat({times, 1}), ring(0, times * atoms));
  const std::span<const float> costs(cost.const_data_ptr<float>(), static_cast<std::size_t>(cost.numel()));
  return {points, ring, solve_assignment(costs, times * atoms).cost / (times * atoms)};
}

/// A network that suits the plane.
class Perceptron : public Field {
public:
  Perceptron() {
    layers_->push_back(torch::nn::Linear(3, 64));
    for (int i = 0; i < 2; ++i) {
      layers_->push_back(torch::nn::SiLU());
      layers_->push_back(torch::nn::Linear(64, 64));
    }
    layers_->push_back(torch::nn::SiLU());
    layers_->push_back(torch::nn::Linear(64, 2));
    register_module("layers", layers_);
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition&) override {
    return layers_->forward(at::cat({x.flatten(1), t.unsqueeze(1)}, 1)).view_as(x);
  }
  std::int64_t no_label() const override { return 1; }
  double forward_flops() const override { return 2.0 * (3 * 64 + 2 * 64 * 64 + 64 * 2); }
  std::int64_t activation_values() const override { return 7 * 64; }
  std::map<std::string, std::string> sizes() const override { return {}; }

private:
  torch::nn::Sequential layers_;
};

PlanePairs independent(const Toy& toy) {
  const at::Tensor order = at::randperm(pairs).remainder(atoms);
  return {toy.points.index_select(0, order), toy.noise(0, pairs)};
}

/// Minibatch transport among `rows` pairs at a time.
PlanePairs minibatch(const Toy& toy, std::int64_t rows) {
  PlanePairs all = independent(toy);
  for (std::int64_t first = 0; first < pairs; first += rows) {
    const at::Tensor z = all.z.narrow(0, first, rows);
    z.copy_(z.index_select(0, transport_permutation(all.x.narrow(0, first, rows), z.clone(), {})));
  }
  return all;
}

PlanePairs semidiscrete(const Toy& toy) {
  const AtomBlocks blocks({atoms});
  const auto alone = make_single_communicator();
  const at::Tensor centre = toy.points.mean(0);
  const Atoms centred = atoms_of(blocks, toy.points - centre, *alone);
  PotentialDescent descent(centred, toy.noise, {.batch = 512, .steps = 6000, .rate_factor = 0.05});
  while (!descent.done()) descent.advance();
  const auto assigned = assign_noises(centred, descent.average(), draws, toy.noise, [](std::int64_t) {});
  return {toy.points.index_select(0, at::tensor(assigned, at::kLong)), toy.noise(0, pairs)};
}

/// E ∫ ‖v‖² dt along the paths that a small student learns from the pairs: what they cost, never less than the optimum
/// where they lead to the data.
double learnt_cost(const PlanePairs& given, const Toy& toy) {
  constexpr std::int64_t batch = 256, steps = 1500, walked = 2048;
  constexpr double rate = 4e-3;
  at::manual_seed(6);
  const auto field = std::make_shared<Perceptron>();
  const auto objective = find_objective("velocity").make(find_path("linear").make({}), {0, 1.4});
  const at::Tensor label = at::zeros({batch}, at::kLong);
  torch::optim::Adam adam(field->parameters(), rate);
  for (std::int64_t step = 0; step < steps; ++step) {
    const at::Tensor rows = at::randint(pairs, {batch}, at::kLong);
    const double share = static_cast<double>(step) / steps;
    static_cast<torch::optim::AdamOptions&>(adam.param_groups()[0].options())
        .lr(rate * 0.5 * (1 + std::cos(std::numbers::pi * share)));
    adam.zero_grad();
    objective
        ->loss(*field, given.x.index_select(0, rows).view({batch, 2, 1, 1}),
               given.z.index_select(0, rows).view({batch, 2, 1, 1}), at::rand({batch}), {label, {}})
        .backward();
    adam.step();
  }
  const StudentFlow flow({field, objective}, {}, "float32");
  const at::Tensor start = toy.noise(pairs, walked).view({walked, 2, 1, 1});
  const at::NoGradGuard no_gradients;
  const PathShape shape = path_shape(flow.velocity({at::zeros({walked}, at::kLong), {}}), start, 64);
  return (shape.transport + 2 * shape.curvature).mean().item<double>();  // of two values a row
}

void expect_order(const Toy& toy) {
  at::manual_seed(5);
  const PlanePairs chance = independent(toy), best = semidiscrete(toy);
  double above = chance.cost();
  for (const std::int64_t rows : {4, 16, 64, 256}) {
    const double cost = minibatch(toy, rows).cost();
    EXPECT_LT(cost, above) << rows;
    above = cost;
  }
  EXPECT_LT(best.cost(), above);
  EXPECT_NEAR(best.cost() / toy.optimum, 1, 0.05);

  const double of_chance = learnt_cost(chance, toy), of_few = learnt_cost(minibatch(toy, 8), toy),
               of_many = learnt_cost(minibatch(toy, 256), toy), of_best = learnt_cost(best, toy);
  SCOPED_TRACE(::testing::Message() << "learnt costs: independent " << of_chance << ", of 8 rows " << of_few
                                    << ", of 256 " << of_many << ", semidiscrete " << of_best << "; optimum "
                                    << toy.optimum);
  EXPECT_GT(of_chance, of_few);
  EXPECT_GT(of_few, of_best);
  EXPECT_NEAR(of_many / toy.optimum, 1, 0.05);
  EXPECT_NEAR(of_best / toy.optimum, 1, 0.05);
}

TEST(LearntPaths, OfTwoGaussiansCostWhatTheyMust) {
  expect_order(two_gaussians());
}

TEST(LearntPaths, FromEightGaussiansToMoonsCostWhatTheyMust) {
  expect_order(eight_gaussians_to_moons());
}

}  // namespace
}  // namespace couplet::testing
