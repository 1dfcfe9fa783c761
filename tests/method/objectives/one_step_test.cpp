// The one-step student's loss against sums in double precision, what it learns, and guidance at training time.
#include "method/objectives/one_step.h"

#include "method/sampling/guided_field.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/flops.h"
#include "storage/error.h"
#include "tests/method/objectives/linear_field.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace couplet {
namespace {

using testing::LinearField;

constexpr std::int64_t rows = 6, values = 4, labels = 2;

std::shared_ptr<const Objective> one_step(const OneStepOptions& options = {}, double guidance = 1) {
  return make_one_step(find_path("linear").make({}), options, {.train_guidance = guidance});
}

struct Pairs {
  Pairs() { at::manual_seed(5); }
  at::Tensor x = at::rand({rows, 1, 2, 2}) * 2 - 1, z = at::randn({rows, 1, 2, 2}), t = at::ones({rows});
  Condition condition{at::tensor({0, 1, 2, 0, 1, 1}, at::kLong), {}};
};

/// A field that has learnt something.
std::shared_ptr<LinearField> some_field() {
  auto field = std::make_shared<LinearField>(values, labels);
  const at::NoGradGuard no_grad;
  field->matrix.copy_(at::randn({values, values}) * 0.3);
  field->shifts.copy_(at::randn({labels + 1, values}) * 0.3);
  return field;
}

using Matrix = std::vector<std::vector<double>>;
Matrix in_double(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().flatten(1).to(at::kDouble);
  Matrix made(static_cast<std::size_t>(flat.size(0)));
  for (std::size_t i = 0; i < made.size(); ++i)
    for (std::int64_t j = 0; j < flat.size(1); ++j)
      made[i].push_back(flat[static_cast<std::int64_t>(i)][j].item<double>());
  return made;
}

/// The mean over rows and values of `error`(e), and its gradient to the matrix, by plain sums; `slope` is the error's.
struct Sums {
  double loss = 0;
  Matrix gradient = Matrix(values, std::vector<double>(values));
};
Sums by_sums(const LinearField& field, const Pairs& p, const std::function<double(double)>& error,
             const std::function<double(double)>& slope) {
  const Matrix matrix = in_double(field.matrix), shifts = in_double(field.shifts), x = in_double(p.x),
               z = in_double(p.z);
  Sums sums;
  constexpr double count = rows * values;
  for (std::size_t row = 0; row < rows; ++row) {
    const auto label =
        static_cast<std::size_t>(p.condition.labels[static_cast<std::int64_t>(row)].item<std::int64_t>());
    for (std::size_t i = 0; i < values; ++i) {
      double made = shifts[label][i];
      for (std::size_t j = 0; j < values; ++j) made += matrix[i][j] * z[row][j];
      const double e = made - x[row][i];
      sums.loss += error(e) / count;
      for (std::size_t j = 0; j < values; ++j) sums.gradient[i][j] += slope(e) * z[row][j] / count;
    }
  }
  return sums;
}

void expect_sums(const OneStepOptions& options, const std::function<double(double)>& error,
                 const std::function<double(double)>& slope) {
  const Pairs p;
  const auto field = some_field();
  const Sums expected = by_sums(*field, p, error, slope);
  const auto objective = one_step(options);
  const at::Tensor loss = objective->loss(*field, p.x, p.z, p.t, p.condition);
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), expected.loss, 1e-6);
  const Matrix gradient = in_double(field->matrix.grad());
  for (std::size_t i = 0; i < values; ++i)
    for (std::size_t j = 0; j < values; ++j)
      EXPECT_NEAR(gradient[i][j], expected.gradient[i][j], 1e-6) << i << ", " << j;
  const at::Tensor errors = objective->errors(*field, p.x, p.z, p.t, p.condition);
  EXPECT_EQ(errors.sizes(), at::IntArrayRef({rows}));
  EXPECT_NEAR(errors.mean().item<double>(), expected.loss, 1e-6);
}

TEST(OneStep, TheLossIsTheMeanSquareErrorOfTheImage) {
  expect_sums(
      {}, [](double e) { return e * e; }, [](double e) { return 2 * e; });
}

TEST(OneStep, HubersLossIsSquareUpToDeltaAndStraightBeyond) {
  constexpr double delta = 0.4;
  int straight = 0, square = 0;
  expect_sums(
      {.huber_delta = delta},
      [&](double e) {
        ++(std::abs(e) > delta ? straight : square);
        return std::abs(e) > delta ? 2 * delta * std::abs(e) - delta * delta : e * e;
      },
      [&](double e) { return 2 * std::clamp(e, -delta, delta); });
  EXPECT_GT(straight, 3);
  EXPECT_GT(square, 3);
}

TEST(OneStep, FeaturesAreAddedByTheirWeight) {
  const Pairs p;
  const auto field = some_field();
  const auto sums_apart = [](const at::Tensor& made, const at::Tensor& images) {
    return (made - images).flatten(1).sum(1).square();
  };
  const auto with = [&](const OneStepOptions& options) {
    return one_step(options)->errors(*field, p.x, p.z, p.t, p.condition);
  };
  const at::Tensor made = field->forward(p.z, p.t, p.condition);
  const at::Tensor expected = with({}) + 0.7 * (made - p.x).flatten(1).sum(1).square();
  EXPECT_TRUE(with({.feature_weight = 0.7, .feature_distance = sums_apart}).allclose(expected));
  EXPECT_THROW(with({.feature_weight = 0.7}), Error) << "a network that was not opened";
}

TEST(OneStep, OneStepOfEulerIsTheOutput) {
  const Pairs p;
  const auto field = some_field();
  const auto objective = one_step();
  EXPECT_TRUE(objective->is_one_step());
  EXPECT_FALSE(objective->has_score());
  Draws draws(1, Purpose::time, 2);
  EXPECT_EQ(objective->draw_time(draws), 1);
  const StudentFlow flow({field, objective}, {}, "float32");
  const at::Tensor made =
      solve(flow.velocity(p.condition), flow.start(p.z, p.condition), Solver::euler, Grid::uniform, 1);
  EXPECT_TRUE(made.allclose(field->forward(p.z, p.t, p.condition), 1e-6, 1e-6));
}

TEST(OneStep, AnInvertibleLinearMapIsRecovered) {
  at::manual_seed(3);
  const at::Tensor map = at::eye(values) + 0.3 * at::randn({values, values});
  const at::Tensor x = at::randn({200, 1, 2, 2}), z = x.flatten(1).mm(map.t()).view_as(x);
  LinearField field(values, 1);
  const Condition condition{at::zeros({200}, at::kLong), {}};
  const auto objective = one_step();
  field.descend(4000, 0.5, [&] { return objective->loss(field, x, z, at::ones({200}), condition); });
  EXPECT_LE((field.forward(z, {}, condition) - x).abs().max().item<double>(), 1e-3);
  EXPECT_LE((field.matrix - map.inverse()).abs().max().item<double>(), 1e-3);
}

/// Images of two classes around means of their own, of labels that are dropped in every third row; noise that says
/// nothing.
struct Classes {
  Classes() {
    at::manual_seed(7);
    z = at::zeros({90, 1, 2, 2});
    x = at::randn({90, 1, 2, 2}) * 0.1;
    const at::Tensor row = at::arange(90), label = row.remainder(2);
    dropped = row.remainder(3).eq(0);
    x = x + label.view({90, 1, 1, 1}) * 0.8;
    asked = {at::where(dropped, at::full_like(label, labels), label), {}};
  }
  at::Tensor mean(const at::Tensor& of) const { return x.flatten(1).index({of}).mean(0); }

  at::Tensor x, z, dropped;
  Condition asked;
};

std::vector<std::shared_ptr<const Objective>> guided(double scale) {
  return {one_step({}, scale),
          find_objective("velocity").make(find_path("linear").make({}), {.train_guidance = scale})};
}

// What meets the target is a share 1/w of the network's output; the rest is its output without label, and no gradient.
TEST(TrainingGuidance, TheLossIsThatOfTheMixture) {
  constexpr double w = 2.5;
  const Pairs p;
  for (const auto& objective : guided(w)) {
    const auto field = some_field();
    const at::Tensor t = objective->is_one_step() ? p.t : at::rand({rows});
    const at::Tensor x_t = at::lerp(p.x, p.z, t.view({rows, 1, 1, 1})), target = objective->target(p.x, p.z, t);
    const auto output = [&](const at::Tensor& label) { return field->forward(x_t, t, {label, {}}); };
    const at::Tensor none = at::full({rows}, labels, at::kLong);
    const at::Tensor own = output(p.condition.labels), other = output(none).detach();
    const at::Tensor is_labelled = p.condition.labels.ne(labels).view({rows, 1, 1, 1});
    const at::Tensor mixed = at::where(is_labelled, own / w + (1 - 1 / w) * other, own);
    const at::Tensor expected = at::mse_loss(mixed, target);
    const auto gradient = [&](const at::Tensor& loss) {
      field->zero_grad();
      loss.backward();
      return at::cat({field->matrix.grad(), field->shifts.grad()});
    };
    const at::Tensor wanted = gradient(expected).clone();
    const at::Tensor loss = objective->loss(*field, p.x, p.z, t, p.condition);
    EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-6);
    EXPECT_TRUE(gradient(loss).allclose(wanted, 1e-5, 1e-6));
    EXPECT_TRUE(objective->errors(*field, p.x, p.z, t, p.condition)
                    .allclose((own - target).square().flatten(1).mean(1), 1e-5, 1e-6))
        << "errors are not guided";
    EXPECT_EQ(objective->training_passes(values), forward_passes_a_training_image + 1);
  }
}

// At the optimum one evaluation gives o + w (E[x | c] - o), where o is what the network gives without a label.
TEST(TrainingGuidance, TheOptimumIsGuided) {
  constexpr double w = 3;
  const Classes data;
  const auto field = std::make_shared<LinearField>(values, labels);
  const auto objective = one_step({}, w);
  field->descend(3000, 1, [&] { return objective->loss(*field, data.x, data.z, at::ones({90}), data.asked); });
  const at::Tensor free = data.mean(data.dropped);
  EXPECT_TRUE(field->shifts[labels].allclose(free, 0, 1e-4));
  const StudentFlow flow({field, objective}, {}, "float32");
  for (std::int64_t label = 0; label < labels; ++label) {
    const at::Tensor expected = free + w * (data.mean(data.asked.labels.eq(label)) - free);
    const Condition condition{at::full({1}, label, at::kLong), {}};
    const at::Tensor made = solve(flow.velocity(condition), data.z.narrow(0, 0, 1), Solver::euler, Grid::uniform, 1);
    EXPECT_TRUE(made.flatten().allclose(expected, 0, 1e-4)) << label << ": " << made << expected;
  }
}

/// A linear field of one matrix. Just before and after its pass without gradients, another thread begins and ends one
/// of its own under autocast, as threads do that share a batch.
class SharedField : public Field {
public:
  SharedField() { matrix = register_parameter("matrix", at::randn({values, values})); }
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition& condition) override {
    const bool records = at::GradMode::is_enabled();
    if (!records) {
      EXPECT_FALSE(condition.positions.defined()) << "nothing is dropped without a label";
      elsewhere();
    }
    const at::Tensor made = at::mm(x.flatten(1), matrix).to(at::kFloat).view(x.sizes());
    if (!records) {
      EXPECT_TRUE(elsewhere()) << "another thread loses its gradients";
    }
    return made;
  }
  std::int64_t no_label() const override { return labels; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }
  at::Tensor matrix;

private:
  /// Whether gradients flow to the matrix.
  bool elsewhere() const {
    bool flows = false;
    std::thread([&] {
      const Autocast autocast("bfloat16", at::kCPU);
      flows = at::mm(at::ones({1, values}), matrix).requires_grad();
    }).join();
    return flows;
  }
};

TEST(TrainingGuidance, ThePassWithoutGradientsTakesThemFromNoThread) {
  const Pairs p;
  Condition condition = p.condition;
  condition.positions = at::arange(rows);
  for (const auto& objective : guided(2)) {
    SharedField field;
    const Autocast autocast("bfloat16", at::kCPU);
    objective->loss(field, p.x, p.z, p.t, condition).backward();
    EXPECT_GT(field.matrix.grad().abs().sum().item<double>(), 0);
  }
}

TEST(TrainingGuidance, WithoutAScaleNothingChanges) {
  const Pairs p;
  const auto field = some_field();
  const auto velocity = find_objective("velocity");
  const auto plain = velocity.make(find_path("linear").make({}), {});
  EXPECT_TRUE(plain->loss(*field, p.x, p.z, p.t, p.condition)
                  .equal(at::mse_loss(field->forward(p.z, p.t, p.condition), p.z - p.x)));
  EXPECT_EQ(plain->training_passes(values), forward_passes_a_training_image);
  EXPECT_TRUE(plain->takes_guidance());
  EXPECT_FALSE(find_objective("likelihood").make(find_path("linear").make({}), {})->takes_guidance());
}

}  // namespace
}  // namespace couplet
