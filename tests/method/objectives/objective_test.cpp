// What students are trained by: losses, training times, and that the output of a perfect network means the path's own
// velocity.
#include "method/objectives/objective.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>

namespace couplet {
namespace {

/// f(x, t) = 0.3 x + t + label
class ToyField : public Field {
public:
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override {
    return 0.3 * x + per_row(t, x) + per_row(condition.labels.to(x.scalar_type()), x);
  }
  std::int64_t no_label() const override { return 3; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }
};

/// Learns the image, with a weight and between narrower times.
class WeightedImage : public Objective {
public:
  using Objective::Objective;
  at::Tensor target(const at::Tensor& x, const at::Tensor&, const at::Tensor&) const override { return x; }
  at::Tensor weight(const at::Tensor& t) const override { return 1 + t; }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor&, const at::Tensor&) const override { return output; }
  double first_time() const override { return 0.25; }
  double last_time() const override { return 0.75; }
};

struct Pairs {
  at::Tensor x = at::rand({4, 1, 3, 3}) * 2 - 1, z = at::randn({4, 1, 3, 3}), t = at::rand({4});
  Condition condition{at::tensor({0, 1, 2, 3}, at::kLong), {}};
};

std::shared_ptr<const Objective> velocity_along_the_straight_path() {
  return find_objective("velocity").make(find_path("linear").make({}), {-0.2, 1});
}

TEST(Objective, TheVelocitysLossIsFlowMatchings) {
  const Pairs p;
  ToyField field;
  const auto objective = velocity_along_the_straight_path();
  const at::Tensor between = at::lerp(p.x, p.z, p.t.view({4, 1, 1, 1}));
  const at::Tensor output = field.forward(between, p.t, p.condition);
  EXPECT_TRUE(objective->loss(field, p.x, p.z, p.t, p.condition).equal(at::mse_loss(output, p.z - p.x)))
      << "the same bits";
  const at::Tensor errors = objective->errors(field, p.x, p.z, p.t, p.condition);
  EXPECT_TRUE(errors.allclose((output - (p.z - p.x)).square().mean({1, 2, 3})));
}

TEST(Objective, AWeightMultipliesTheRowsErrors) {
  const Pairs p;
  ToyField field;
  const WeightedImage objective(find_path("linear").make({}), {});
  const at::Tensor output = field.forward(at::lerp(p.x, p.z, p.t.view({4, 1, 1, 1})), p.t, p.condition);
  const at::Tensor expected = (1 + p.t) * (output - p.x).square().mean({1, 2, 3});
  EXPECT_TRUE(objective.errors(field, p.x, p.z, p.t, p.condition).allclose(expected));
  EXPECT_TRUE(objective.loss(field, p.x, p.z, p.t, p.condition).allclose(expected.mean()));
}

// A network that has learnt its target moves along the path. Regression, likelihood and flow maps go with one path.
TEST(Objective, ThePerfectOutputMeansThePathsVelocity) {
  for (const ObjectiveKind& kind : objective_kinds()) {
    EXPECT_FALSE(kind.help.empty());
    for (const PathKind& path_kind : path_kinds()) {
      const bool goes_with_one =
          kind.name == "regression" || kind.name == "likelihood" ||
          kind.make(find_path("linear").make({}), {.time_law = kind.time_laws.front()})->is_flow_map();
      if (goes_with_one && path_kind.name != "linear") continue;
      const auto objective = kind.make(path_kind.make({}), {.time_law = kind.time_laws.front()});
      const Path& path = objective->path();
      const auto shape = at::ones({20, 1, 2, 2}, at::kDouble);
      const at::Tensor x = at::rand_like(shape), z = at::randn_like(shape);
      const double first = objective->first_time(), last = objective->last_time();
      const at::Tensor t = first + (last - first) * at::arange(20, at::kDouble) / 19;
      const at::Tensor output = objective->target(x, z, t), x_t = path.state(x, z, t);
      EXPECT_TRUE(objective->velocity(output, x_t, t).allclose(path.velocity(x, z, t), 1e-9, 1e-9))
          << kind.name << " along " << path_kind.name;
      const at::Tensor weight = objective->weight(t);
      EXPECT_TRUE(output.isfinite().all().item<bool>() && (!weight.defined() || weight.isfinite().all().item<bool>()))
          << kind.name << " along " << path_kind.name;
    }
  }
}

TEST(Objective, StopsShortOfEndsWhereNoNetworkCanFollow) {
  const auto ends = [](const char* objective, const char* path) {
    const auto made = find_objective(objective).make(find_path(path).make({}), {.time_law = "uniform"});
    return std::pair(made->first_time(), made->last_time());
  };
  const auto expect = [&](const char* objective, const char* path, double first, double last) {
    EXPECT_NEAR(ends(objective, path).first, first, 1e-9) << objective << " along " << path;
    EXPECT_NEAR(ends(objective, path).second, last, 1e-9) << objective << " along " << path;
  };
  expect("velocity", "linear", 0, 1);
  expect("noise", "linear", 0, 0.995);
  expect("score", "linear", 0.001, 0.995);
  for (const char* objective : {"velocity", "noise", "score", "scoreflow"})
    for (const char* path : {"vp", "ve"}) expect(objective, path, 1e-5, 1);
}

TEST(Objective, ANetworkSeesStatesThatExplodeInTheirScale) {
  const auto path = find_path("ve").make({});
  const at::Tensor t = at::tensor({0.0, 0.5, 1.0}, at::kDouble), x_t = at::randn({3, 1, 2, 2}, at::kDouble);
  const at::Tensor sigma = 0.01 * at::pow(5000, t);
  for (const char* name : {"velocity", "noise", "score"}) {
    const FieldInput asked = find_objective(name).make(path, {})->input(x_t, t);
    EXPECT_TRUE(asked.t.equal(t));
    EXPECT_TRUE(asked.x.allclose(x_t / (sigma.square() + 0.5).sqrt().view({3, 1, 1, 1}))) << name;
  }
  const FieldInput plain = velocity_along_the_straight_path()->input(x_t, t);
  EXPECT_TRUE(plain.x.is_same(x_t) && plain.t.is_same(t));
}

TEST(Objective, TheVelocityAlongVeIsLearntInUnitsOfIt) {
  const Pairs p;
  ToyField field;
  const auto path = find_path("ve").make({});
  const auto velocity = find_objective("velocity").make(path, {}), noise = find_objective("noise").make(path, {});
  EXPECT_TRUE(velocity->target(p.x, p.z, p.t).allclose(p.z, 1e-5, 1e-5));
  EXPECT_TRUE(velocity->loss(field, p.x, p.z, p.t, p.condition)
                  .allclose(noise->loss(field, p.x, p.z, p.t, p.condition), 1e-5, 1e-6));
}

// They differ in where a network's output is divided by σ.
TEST(Objective, ScoreMatchingHasTheLossOfTheNoise) {
  const Pairs p;
  for (const char* name : {"linear", "vp", "vp-cosine", "ve"}) {
    const auto path = find_path(name).make({});
    const auto score = find_objective("score").make(path, {}), noise = find_objective("noise").make(path, {});
    const auto by_importance = find_objective("scoreflow").make(path, {.time_law = "importance"});
    const at::Tensor t = p.t.clamp(score->first_time(), score->last_time());
    const at::Tensor output = at::randn_like(p.x), sigma = per_row(path->sigma(t), p.x);
    const at::Tensor as_score = (-output / sigma - score->target(p.x, p.z, t)).square().mean({1, 2, 3});
    const at::Tensor as_noise = (output - noise->target(p.x, p.z, t)).square().mean({1, 2, 3});
    EXPECT_TRUE((score->weight(t) * as_score).allclose(as_noise, 1e-4, 1e-5)) << name;
    EXPECT_TRUE((by_importance->weight(t) * as_score).allclose(as_noise, 1e-4, 1e-5)) << name;
  }
}

// g² over uniform times, and what importance leaves of it, have the same mean but for the integral of g²/σ².
TEST(Objective, ImportanceChangesNoMean) {
  const auto path = find_path("vp").make({});
  const auto uniform = find_objective("scoreflow").make(path, {.time_law = "uniform"});
  const auto importance = find_objective("scoreflow").make(path, {.time_law = "importance"});
  const auto error = [](const at::Tensor& t) { return 1 + (6 * t).sin(); };  // of a network's score
  const double first = importance->first_time(), last = importance->last_time();
  const std::int64_t parts = 200000;
  const at::Tensor middles = (at::arange(parts, at::kDouble) + 0.5) / static_cast<double>(parts);
  const at::Tensor t = first + (last - first) * middles;
  const auto expected = (uniform->weight(t) * error(t)).mean().item<double>() * (last - first);
  const double from = path->log_ratio(first), to = path->log_ratio(last);
  double mean = 0;
  constexpr int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    const double drawn = path->time_of_log_ratio(from + (to - from) * (i + 0.5) / draws);
    const at::Tensor time = at::full({1}, drawn, at::kDouble);
    mean += (importance->weight(time) * error(time)).item<double>() / draws;
  }
  EXPECT_NEAR(mean * 2 * (to - from) / expected, 1, 1e-4);
}

TEST(Objective, RegressionSeesNoNoise) {
  const Pairs p;
  ToyField field;
  const auto objective = find_objective("regression").make(find_path("linear").make({}), {});
  const FieldInput asked = objective->input(p.x, p.t);
  EXPECT_TRUE(asked.x.equal(at::zeros_like(p.x)) && asked.t.equal(at::ones({4})));
  EXPECT_FALSE(objective->has_score());
  const at::Tensor image = field.forward(at::zeros_like(p.x), at::ones({4}), p.condition);
  EXPECT_TRUE(objective->loss(field, p.x, p.z, p.t, p.condition).allclose(at::mse_loss(image, p.x)));
}

std::string refusal(const char* objective, const std::shared_ptr<const Path>& path, const ObjectiveOptions& options) {
  try {
    make_objective(objective, path, options);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    return error.what();
  }
  return "not refused";
}

TEST(Objective, PathsAndLawsThatItCannotHaveAreRefused) {
  const auto expect = [](const std::string& found, const std::string& part) {
    EXPECT_NE(found.find(part), std::string::npos) << found;
  };
  const auto straight = find_path("linear").make({});
  for (const char* path : {"vp", "vp-cosine", "ve"})
    expect(refusal("regression", find_path(path).make({}), {}), "set student.path = linear");
  expect(refusal("regression", find_path("linear").make({.sigma_min = 0.1}), {.section = "student.wide"}),
         "student.wide.sigma-min = 0");
  expect(refusal("scoreflow", straight, {}), "student.time-law = logit-normal: student.objective = scoreflow");
  for (const char* objective : {"velocity", "noise", "score", "regression"})
    expect(refusal(objective, straight, {.time_law = "importance"}), "logit-normal or uniform");
  expect(refusal("velocity", straight, {.time_law = "normal"}), "student.time-law = normal");
  EXPECT_THROW(parse_time_law("normal"), Error);
}

TEST(Objective, UniformTimesLieBetweenTheEnds) {
  const WeightedImage objective(find_path("linear").make({}), {.time_law = "uniform"});
  for (std::uint64_t i = 0; i < 200; ++i) {
    Draws time(5, Purpose::time, i), uniform(5, Purpose::time, i);
    EXPECT_DOUBLE_EQ(objective.draw_time(time), 0.25 + 0.5 * uniform.uniform());
  }
}

TEST(Objective, TrainingTimesAreLogitNormal) {
  const auto objective = velocity_along_the_straight_path();
  double sum = 0, squares = 0;
  constexpr int draws = 20000;
  for (std::uint64_t i = 0; i < draws; ++i) {
    Draws time(5, Purpose::time, i), normal(5, Purpose::time, i);
    const double t = objective->draw_time(time), n = -0.2 + normal.normal();
    ASSERT_DOUBLE_EQ(t, 1 / (1 + std::exp(-n)));
    const double logit = std::log(t / (1 - t));
    sum += logit;
    squares += logit * logit;
  }
  EXPECT_NEAR(sum / draws, -0.2, 0.03);
  EXPECT_NEAR(std::sqrt(squares / draws - sum / draws * (sum / draws)), 1, 0.03);
}

TEST(Objective, TrainingTimesStayWithinTheSafeEnds) {
  const WeightedImage objective(find_path("linear").make({}), {0, 5});
  bool low = false, high = false;
  for (std::uint64_t i = 0; i < 200; ++i) {
    Draws draws(5, Purpose::time, i);
    const double t = objective.draw_time(draws);
    low = low || t == 0.25;
    high = high || t == 0.75;
    ASSERT_TRUE(t >= 0.25 && t <= 0.75) << t;
  }
  EXPECT_TRUE(low && high);
}

}  // namespace
}  // namespace couplet
