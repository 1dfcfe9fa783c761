// Solvers and metrics against other people's implementations.
#include "tests/method/reference.h"
#include "method/metrics/coverage.h"
#include "method/metrics/frechet.h"
#include "method/metrics/inception_score.h"
#include "method/metrics/kernel_distance.h"
#include "method/metrics/numpy_random.h"
#include "method/models/fields/sit.h"
#include "method/solvers/dopri5.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/distributed/communicator.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace couplet::testing {
namespace {

/// The reference's SiT read raw: its output as dx/dt in our time, without reversal.
SiT raw_sit() {
  const ReferenceFile weights("sit.weights");
  SiTOptions options;
  options.in_channels = weights.size("in_channels");
  options.image_size = weights.size("input_size");
  options.patch = weights.size("patch_size");
  options.channels = weights.size("hidden_size");
  options.depth = weights.size("depth");
  options.heads = weights.size("num_heads");
  options.num_classes = weights.size("num_classes");
  const std::int64_t plain = options.patch * options.patch * options.in_channels;
  options.learn_sigma = weights["final_layer.linear.bias"].size(0) == 2 * plain;
  SiT model = make_sit(options, 1);
  load_tensors(*model, weights.tensors, weights.path.string());
  return model;
}

struct Case {
  const char* name;
  Solver solver;
  Grid grid;
  std::int64_t nfe;
};

TEST(EvaluateReference, SamplesOfTheSiTField) {
  const ReferenceFile ode("ode.io");
  SiT model = raw_sit();
  const VelocityField field = [&](const at::Tensor& x, double t) {
    return model->forward(x, at::full({x.size(0)}, t, x.options()), {ode["y"], {}});
  };
  for (const Case& wanted :
       {Case{"euler4", Solver::euler, Grid::uniform, 4}, Case{"euler4_squared_grid", Solver::euler, Grid::squared, 4},
        Case{"heun4", Solver::heun_full, Grid::uniform, 8}, Case{"heun4_last_euler", Solver::heun, Grid::uniform, 7}}) {
    const at::Tensor x = solve(field, ode["noise"], wanted.solver, wanted.grid, wanted.nfe);
    EXPECT_LE(difference(x, ode[wanted.name]), sample_tolerance) << wanted.name;
  }
  EXPECT_GT(difference(ode["heun4"], ode["heun4_last_euler"]), sample_tolerance)
      << "the reference tells the solvers apart";
}

TEST(EvaluateReference, TheAdaptiveSolver) {
  const ReferenceFile ode("ode.io");
  SiT model = raw_sit();
  const VelocityField field = [&](const at::Tensor& x, double t) {
    return model->forward(x, at::full({x.size(0)}, t, x.options()), {ode["y"], {}});
  };
  const AdaptiveSolution solution = solve_adaptively(field, ode["noise"], 1, 0, {1e-6, 1e-6});
  EXPECT_LE(difference(solution.x, ode["dopri5_1e6"]), 1e-5);
  const auto theirs = ode["dopri5_1e6_nfe"].item<std::int64_t>();
  EXPECT_LE(std::abs(solution.nfe - theirs), 6) << "one step";
  // Many steps of the fixed solvers meet it.
  EXPECT_LE(difference(solve(field, ode["noise"], Solver::heun_full, Grid::uniform, 256), ode["dopri5_1e6"]), 1e-3);
  EXPECT_LE(difference(solve(field, ode["noise"], Solver::rk4, Grid::uniform, 128), ode["dopri5_1e6"]), 1e-4);
}

TEST(EvaluateReference, FrechetDistance) {
  const ReferenceFile features("metrics.features");
  const nlohmann::json expected = nlohmann::json::parse(read_file(reference_folder() / "metrics.json"));
  Moments a(features["a"].size(1)), b(features["b"].size(1));
  for (const auto& [moments, rows] : {std::pair{&a, features["a"]}, std::pair{&b, features["b"]}}) {
    for (const at::Tensor& slice : rows.split(64)) moments->add(slice);
  }
  const double theirs = expected.at("frechet_distance_a_b").get<double>();
  EXPECT_NEAR(frechet_distance(a, b), theirs, 1e-6 * theirs);
}

TEST(EvaluateReference, KernelDistance) {
  const ReferenceFile features("metrics.features");
  const nlohmann::json expected = nlohmann::json::parse(read_file(reference_folder() / "metrics.json"));
  const double theirs = expected.at("kid_poly3_unbiased_mmd2_first500").get<double>();
  const at::Tensor a = features["a"].narrow(0, 0, 500), b = features["b"].narrow(0, 0, 500);
  const auto alone = make_single_communicator();
  EXPECT_NEAR(full_kernel_distance(a, b, kernel_sum(b, *alone), *alone), theirs, 1e-6 * theirs);
}

TEST(EvaluateReference, PrecisionAndRecall) {
  const ReferenceFile features("metrics.features");
  const nlohmann::json expected = nlohmann::json::parse(read_file(reference_folder() / "metrics.json"));
  const auto alone = make_single_communicator();
  const at::Tensor radii = squared_radii(features["b"], {}, *alone);
  const Coverage found = coverage(features["a"], features["b"], radii, {}, *alone);
  const nlohmann::json& theirs = expected.at("precision_recall");  // means in float32
  EXPECT_NEAR(found.precision, theirs.at("precision").get<double>(), 1e-6);
  EXPECT_NEAR(found.recall, theirs.at("recall").get<double>(), 1e-6);
}

TEST(EvaluateReference, InceptionScore) {
  const ReferenceFile features("metrics.features");
  const nlohmann::json expected = nlohmann::json::parse(read_file(reference_folder() / "metrics.json"));
  const at::Tensor& logits = features["logits"];
  InceptionScore score(logits.size(0), logits.size(1));
  // Theirs was computed without a permutation.
  const at::Tensor order = at::tensor(RandomState(2020).permutation(logits.size(0)), at::kLong);
  for (const at::Tensor& slice : at::empty_like(logits).index_copy(0, order, logits).split(64)) score.add(slice);
  const nlohmann::json& theirs = expected.at("inception_score");
  EXPECT_NEAR(score.mean(), theirs.at("inception_score_mean").get<double>(), 1e-6 * score.mean());
  EXPECT_NEAR(score.deviation(), theirs.at("inception_score_std").get<double>(), 1e-6 * score.deviation());
}

}  // namespace
}  // namespace couplet::testing
