#include "method/sampling/guided_field.h"

#include "method/solvers/fixed_step.h"
#include "storage/error.h"
#include "tests/method/velocity_student.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>

namespace couplet {
namespace {

/// A network whose output depends on its labels.
std::shared_ptr<Field> small_field() {
  const std::shared_ptr<Field> field = find_field("sit").make(
      {.image_channels = 1, .image_size = 4, .num_classes = 3, .patch = 2, .channels = 8, .depth = 1, .heads = 2}, 1);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : field->parameters()) parameter.normal_(0, 0.3);
  field->eval();
  return field;
}

/// x_t = (1 - t) x + 3 t z, between times that are narrower than all.
class WidePath : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return 1 - t; }
  at::Tensor sigma(const at::Tensor& t) const override { return 3 * t; }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return torch::full_like(t, -1); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return torch::full_like(t, 3); }
  double prior_scale() const override { return 3; }
  double first_time() const override { return 0.125; }
  double last_time() const override { return 0.875; }
};

/// The network gives the image.
class ImageObjective : public Objective {
public:
  using Objective::Objective;
  at::Tensor target(const at::Tensor& x, const at::Tensor&, const at::Tensor&) const override { return x; }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor& x_t, const at::Tensor& t) const override {
    const at::Tensor z = (x_t - per_row(path().alpha(t), x_t) * output) / per_row(path().sigma(t), x_t);
    return path().velocity(output, z, t);
  }
};

std::string refusal(const Guidance& guidance) {
  try {
    check(guidance);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StudentField, IsGuidedInItsIntervalOnly) {
  const torch::NoGradGuard no_grad;
  const std::shared_ptr<Field> model = small_field();
  const at::Tensor x = torch::randn({3, 1, 4, 4}), labels = torch::tensor({0, 1, 2}, torch::kInt64);
  const StudentFlow flow(testing::velocity_student(model), {.scale = 2.5, .from = 0.25, .to = 0.75}, "float32");
  const VelocityField field = flow.velocity({labels, {}});
  for (const double t : {0.0, 0.2, 0.25, 0.5, 0.75, 0.8, 1.0}) {
    const at::Tensor times = torch::full({3}, t);
    const at::Tensor plain = model->forward(x, times, {labels, {}});
    const at::Tensor guided = guided_output(*model, x, times, {labels, {}}, 2.5);
    ASSERT_GT((plain - guided).abs().max().item<double>(), 1e-3) << "guidance is seen";
    EXPECT_TRUE(field(x, t).allclose(t < 0.25 || t > 0.75 ? plain : guided, 1e-6, 1e-6)) << t;
  }
}

TEST(StudentField, IsTheVelocityThatTheOutputMeansAtASafeTime) {
  const torch::NoGradGuard no_grad;
  const std::shared_ptr<Field> model = small_field();
  const auto path = std::make_shared<WidePath>();
  const StudentFlow flow({model, std::make_shared<ImageObjective>(path, ObjectiveOptions{})}, {}, "float32");
  const at::Tensor x = torch::randn({2, 1, 4, 4}), labels = torch::tensor({0, 2}, torch::kInt64);
  const VelocityField field = flow.velocity({labels, {}});
  for (const double t : {0.0, 0.125, 0.5, 0.875, 1.0}) {
    const double safe = std::min(0.875, std::max(0.125, t));
    const at::Tensor image = model->forward(x, torch::full({2}, safe), {labels, {}});
    const at::Tensor z = (x - (1 - safe) * image) / (3 * safe);
    EXPECT_TRUE(field(x, t).allclose(3 * z - image, 1e-4, 1e-5)) << t;
  }
  EXPECT_TRUE(flow.start(x, {}).equal(3 * x)) << "noise of unit variance is scaled to the path's end";
  EXPECT_TRUE(StudentFlow(testing::velocity_student(model), {}, "float32").start(x, {}).equal(x));
}

// Mean velocities over spans are guided as velocities are.
TEST(StudentField, OfAFlowMapGivesMeanVelocities) {
  const torch::NoGradGuard no_grad;
  const std::shared_ptr<Field> model = find_field("sit").make(
      {.image_size = 4, .num_classes = 3, .patch = 2, .channels = 8, .depth = 1, .heads = 2, .spans = true}, 1);
  for (auto& parameter : model->parameters()) parameter.normal_(0, 0.3);
  const at::Tensor x = torch::randn({3, 1, 4, 4}), labels = torch::tensor({0, 1, 2}, torch::kInt64);
  const auto objective = find_objective("shortcut").make(find_path("linear").make({}), {});
  for (const double scale : {1.0, 2.5}) {
    const VelocityField field = StudentFlow({model, objective}, {.scale = scale}, "float32").velocity({labels, {}});
    const auto asked = [&](double t, double span) {
      const auto of = [&](const at::Tensor& classes) {
        return model->forward(x, torch::full({3}, t), {classes, {}, {}, torch::full({3}, span)});
      };
      return at::lerp(of(torch::full_like(labels, 3)), of(labels), scale);
    };
    EXPECT_GT((asked(1, 1) - asked(1, 0)).abs().max().item<double>(), 1e-3);
    EXPECT_TRUE(field(x, 0.7, 0.5).allclose(asked(0.7, 0.5), 1e-5, 1e-5)) << scale;
    EXPECT_TRUE(field(x, 0.7).allclose(asked(0.7, 0), 1e-5, 1e-5)) << scale;
    EXPECT_TRUE(solve(field, x, Solver::euler, Grid::uniform, 1).allclose(x - asked(1, 1), 1e-5, 1e-5)) << scale;
  }
  const StudentFlow velocity(testing::velocity_student(model), {}, "float32");
  EXPECT_TRUE(
      velocity.velocity({labels, {}})(x, 0.7, 0.5).equal(model->forward(x, torch::full({3}, 0.7), {labels, {}})))
      << "one that learnt no map is asked for its velocity";
}

TEST(StudentField, RefusesGuidanceThatCannotBeMeant) {
  EXPECT_EQ(refusal({}), "");
  EXPECT_EQ(refusal({.scale = 2, .from = 0.1, .to = 0.9}), "");
  EXPECT_NE(refusal({.scale = 2, .from = 0.9, .to = 0.1}).find("below its end"), std::string::npos);
  EXPECT_NE(refusal({.scale = 2, .from = 0, .to = 1.5}), "");
  EXPECT_NE(refusal({.scale = 1, .from = 0.2, .to = 1}).find("no guidance"), std::string::npos);
}

TEST(StudentField, StartsFromItsSource) {
  const torch::NoGradGuard no_grad;
  const auto path = std::make_shared<WidePath>();
  StudentModel model{small_field(), std::make_shared<ImageObjective>(path, ObjectiveOptions{})};
  const torch::Tensor z = torch::randn({2, 1, 4, 4});
  const Condition condition{torch::zeros({2}, torch::kLong), torch::randn({2, 1, 4, 4})};
  const StudentFlow noise(model, {}, "float32");
  EXPECT_TRUE(noise.starts_from_noise());
  EXPECT_TRUE(noise.start(z, condition).equal(z * 3));
  model.source = [](const at::Tensor& drawn, const Condition& given) { return given.image + 0.5 * drawn; };
  const StudentFlow flow(model, {}, "float32");
  EXPECT_FALSE(flow.starts_from_noise());
  EXPECT_TRUE(flow.start(z, condition).equal((condition.image + 0.5 * z) * 3));
  EXPECT_THROW(StudentFlow(model, {}, "float32", 0.9), Error) << "a source has no temperature";
}

/// The flow of points whose noise at t = 1 is s z: those at t = 0 have deviation 2. Along the straight path of
/// independent pairs the deviation at t is √(4 (1 - t)² + s² t²), and a point keeps its quantile.
class GaussianField : public Field {
public:
  explicit GaussianField(double noise) : noise_(noise) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition&) override {
    const at::Tensor variance = 4 * (1 - t).square() + noise_ * noise_ * t.square();
    return x * per_row((noise_ * noise_ * t - 4 * (1 - t)) / variance, x);
  }
  std::int64_t no_label() const override { return 0; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 1; }
  std::map<std::string, std::string> sizes() const override { return {}; }

private:
  double noise_;
};

TEST(StudentField, StartsFromNoiseTimesItsTemperature) {
  const torch::NoGradGuard no_grad;
  const StudentModel wide{small_field(),
                          std::make_shared<ImageObjective>(std::make_shared<WidePath>(), ObjectiveOptions{})};
  const torch::Tensor z = torch::randn({2, 1, 4, 4});
  EXPECT_TRUE(StudentFlow(wide, {}, "float32", 0.5).start(z, {}).equal(1.5 * z));
  EXPECT_TRUE(StudentFlow(wide, {}, "float32", 0).start(z, {}).equal(torch::zeros_like(z)));
}

// A student whose table noise has variance s² in place of 1 makes the data's distribution of s z, and of no other
// scale.
TEST(StudentField, HasItsBestTemperatureAtTheDeviationOfItsNoise) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(4);
  const double s = 0.8;
  const StudentModel student = testing::velocity_student(std::make_shared<GaussianField>(s));
  const torch::Tensor z = torch::randn({400, 100, 1, 1});
  const Condition condition{torch::zeros({400}, torch::kLong), {}};
  // Fréchet distance of the samples' values to N(0, 4).
  const auto distance = [&](double temperature) {
    const StudentFlow flow(student, {}, "float32", temperature);
    const torch::Tensor x = solve(flow.velocity(condition), flow.start(z, condition), Solver::rk4, Grid::uniform, 32);
    const double mean = x.mean().item<double>(), deviation = x.std().item<double>();
    return mean * mean + (deviation - 2) * (deviation - 2);
  };
  const double at_best = distance(s), without = distance(1);
  for (const double temperature : {0.7, 0.75, 0.85, 0.9}) EXPECT_GT(distance(temperature), at_best) << temperature;
  EXPECT_LT(at_best, 1e-3);
  EXPECT_NEAR(without, 0.25, 0.03) << "the deviation is 2 / s there";
}

TEST(StudentField, OfOneThatHasSeenNoLabelsIsAskedWithoutThem) {
  const torch::NoGradGuard no_grad;
  StudentModel model = testing::velocity_student(small_field());
  const torch::Tensor x = torch::randn({3, 1, 4, 4});
  const Condition labelled{torch::tensor({0, 1, 2}), {}};
  const Condition unlabelled{torch::full({3}, model.field->no_label(), torch::kLong), {}};
  const torch::Tensor expected = StudentFlow(model, {}, "float32").velocity(unlabelled)(x, 0.5);
  EXPECT_FALSE(StudentFlow(model, {}, "float32").velocity(labelled)(x, 0.5).equal(expected));
  model.labelled = false;
  EXPECT_TRUE(StudentFlow(model, {}, "float32").velocity(labelled)(x, 0.5).equal(expected));
}

}  // namespace
}  // namespace couplet
