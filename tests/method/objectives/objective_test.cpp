// What students are trained by: losses, training times, and that the output of a perfect network means the path's own
// velocity.
#include "method/objectives/objective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
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

// A network that has learnt its target moves along the path.
TEST(Objective, ThePerfectOutputMeansThePathsVelocity) {
  for (const ObjectiveKind& kind : objective_kinds()) {
    for (const PathKind& path_kind : path_kinds()) {
      const auto path = path_kind.make({});
      const auto objective = kind.make(path, {});
      const auto shape = at::ones({20, 1, 2, 2}, at::kDouble);
      const at::Tensor x = at::rand_like(shape), z = at::randn_like(shape);
      const double first = objective->first_time(), last = objective->last_time();
      const at::Tensor t = first + (last - first) * (at::arange(20, at::kDouble) + 0.5) / 20;
      const at::Tensor output = objective->target(x, z, t);
      EXPECT_TRUE(objective->velocity(output, path->state(x, z, t), t).allclose(path->velocity(x, z, t), 1e-9, 1e-9))
          << kind.name << " along " << path_kind.name;
      EXPECT_FALSE(kind.help.empty());
    }
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
