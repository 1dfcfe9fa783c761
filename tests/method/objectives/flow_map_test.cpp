// Flow maps against flows whose mean velocities are known in closed form: what training finds, what targets and errors
// are, which times are drawn.
#include "method/objectives/flow_map.h"

#include "pipeline/tensor/autocast.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/adam.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

const std::vector<std::string> flow_maps{"shortcut", "consistency", "meanflow"};

std::shared_ptr<const FlowMap> flow_map(const std::string& name, ObjectiveOptions options = {.time_law = "uniform"}) {
  return std::dynamic_pointer_cast<const FlowMap>(make_objective(name, find_path("linear").make({}), options));
}

Condition with_span(const at::Tensor& span) {
  return {at::zeros({span.size(0)}, at::kLong), {}, {}, span};
}

/// Rows [n, 2] as images, and back.
at::Tensor as_images(const at::Tensor& rows) {
  return rows.view({rows.size(0), 2, 1, 1});
}
/// A matrix a row, times the row.
at::Tensor times(const at::Tensor& matrices, const at::Tensor& images) {
  return as_images(at::matmul(matrices, images.flatten(1).unsqueeze(2)).squeeze(2));
}
at::Tensor one_each(const at::Tensor& values) {
  return values.view({-1, 1, 1});
}

class TestField : public Field {
public:
  std::int64_t no_label() const override { return 0; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }
};

/// u = W (1 + t W)⁻¹ x, and over spans d what is wrong with it: d (P + t Q + d R) x. P, Q and R do not begin at 0.
class LinearFlow : public TestField {
public:
  LinearFlow() {
    const auto begin = [&](const char* name) { return register_parameter(name, 0.3 * torch::randn({2, 2})); };
    w_ = begin("w"), p_ = begin("p"), q_ = begin("q"), r_ = begin("r");
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override {
    const at::Tensor time = one_each(t), d = one_each(condition.span);
    const at::Tensor straight = at::matmul(w_, at::linalg_inv(at::eye(2) + time * w_));
    return times(straight + d * (p_ + time * q_ + d * r_), x);
  }

private:
  at::Tensor w_, p_, q_, r_;
};

/// The flow of dx/dt = K x, K a turn with growth: over a span d, x_s = e^(-g d) R(-ω d) x_t. Over spans its map is
/// wrong by the factor 1 + `wrong` · d.
class Spiral : public TestField {
public:
  explicit Spiral(double wrong = 0) : wrong_(wrong) {}

  static at::Tensor velocity(const at::Tensor& x) {
    return times(at::tensor({growth, -turn, turn, growth}, at::kDouble).view({2, 2}).to(x.scalar_type()), x);
  }
  static at::Tensor mean_velocity(const at::Tensor& x, const at::Tensor& span) {
    const at::Tensor d = span.to(at::kDouble), kept = (-growth * d).exp();
    const at::Tensor c = kept * (turn * d).cos(), s = kept * (turn * d).sin();
    const at::Tensor back = at::stack({c, s, -s, c}, 1).view({-1, 2, 2});
    const at::Tensor mean = (x.to(at::kDouble) - times(back, x.to(at::kDouble))) / per_row(d, x);
    return at::where(per_row(d, x).abs() < 1e-9, velocity(x.to(at::kDouble)), mean).to(x.scalar_type());
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override {
    const at::Tensor span = condition.span.defined() ? condition.span : at::zeros_like(t);
    return mean_velocity(x, span) * per_row(1 + wrong_ * span, x);
  }

private:
  static constexpr double growth = 0.4, turn = 1.3;
  double wrong_;
};

/// Pairs whose line runs through y at t with the spiral's velocity.
struct SpiralPairs {
  at::Tensor y, t, span, x, z;

  SpiralPairs() {
    torch::manual_seed(3);
    constexpr std::int64_t rows = 40;
    y = as_images(at::randn({rows, 2}));
    span = at::pow(2.0, -at::arange(rows).remainder(6)).to(at::kFloat);  // levels whose halves have a span
    t = span + (1 - span) * at::rand({rows});
    const at::Tensor v = Spiral::velocity(y);
    x = y - per_row(t, y) * v;
    z = x + v;
  }
};

TEST(FlowMap, TrainingFindsTheExactMapOfALinearFlow) {
  const at::Tensor a = at::tensor({0.6F, 0.7F, -0.5F, 0.8F}).view({2, 2});  // (1 - t) + t a is invertible: none cross
  for (const std::string& name : flow_maps) {
    torch::manual_seed(1);
    const auto objective = flow_map(name, {.time_law = "uniform", .map_share = 0.6});
    LinearFlow field;
    constexpr std::int64_t rows = 256;
    const at::Tensor x = as_images(at::randn({rows, 2})), z = times(a, x);
    at::Tensor t = at::empty({rows}), span = at::empty({rows});
    for (std::int64_t row = 0; row < rows; ++row) {
      Draws draws(1, Purpose::time, static_cast<std::uint64_t>(row));
      const RowTimes drawn = objective->draw_times(draws);
      t[row] = drawn.t;
      span[row] = drawn.span;
    }
    constexpr int steps = 2000;
    torch::optim::Adam adam(field.parameters(), torch::optim::AdamOptions(0.2));
    for (int step = 0; step < steps; ++step) {
      static_cast<torch::optim::AdamOptions&>(adam.param_groups()[0].options())
          .lr(0.2 * std::pow(0.01, static_cast<double>(step) / steps));
      adam.zero_grad();
      objective->loss(field, x, z, t, with_span(span)).backward();
      adam.step();
    }
    const torch::NoGradGuard no_grad;
    for (const double time : {0.2, 0.5, 0.8, 1.0})
      for (const double earlier : {0.0, 0.3, 0.7, 1.0}) {
        if (earlier > time) continue;
        const at::Tensor at_time = at::full({rows}, time), d = at::full({rows}, time - earlier);
        const at::Tensor x_t = at::lerp(x, z, time), x_s = at::lerp(x, z, earlier);
        const at::Tensor u = field.forward(x_t, at_time, with_span(d));
        EXPECT_LE((u - (z - x)).abs().max().item<double>(), 1e-3 * (z - x).abs().max().item<double>())
            << name << " from " << time << " to " << earlier;
        EXPECT_LE((x_t - per_row(d, x_t) * u - x_s).abs().max().item<double>(), 3e-3) << name;
      }
  }
}

TEST(FlowMap, AnExactMapIsItsOwnTarget) {
  const SpiralPairs p;
  Spiral exact, wrong(0.1);
  const at::Tensor expected = Spiral::mean_velocity(p.y, p.span);
  for (const std::string& name : flow_maps) {
    const auto objective = flow_map(name);
    const torch::NoGradGuard no_grad;
    const MapRows rows{p.y, p.z - p.x, p.t, with_span(p.span)};
    EXPECT_LE((objective->map_target(exact, rows) - expected).abs().max().item<double>(), 1e-3) << name;
    const at::Tensor right = objective->errors(exact, p.x, p.z, p.t, with_span(p.span));
    const at::Tensor other = objective->errors(wrong, p.x, p.z, p.t, with_span(p.span));
    EXPECT_LE(right.max().item<double>(), 1e-3) << name;
    EXPECT_GT(other.mean().item<double>(), 30 * right.mean().item<double>()) << name;
    const at::Tensor velocity = objective->errors(exact, p.x, p.z, p.t, with_span(at::zeros_like(p.t)));
    EXPECT_LE(velocity.max().item<double>(), 1e-10) << name << ": at span 0 it is the velocity";
  }
}

// Of every row alone: whichever rows come with it, and where.
TEST(FlowMap, ErrorsAreOfEachRowAlone) {
  const SpiralPairs p;
  Spiral field(0.3);
  for (const std::string& name : flow_maps) {
    const auto objective = flow_map(name);
    const torch::NoGradGuard no_grad;
    const at::Tensor span = at::where(at::arange(p.t.size(0)).remainder(3) == 0, 0.0, p.span).to(at::kFloat);
    const at::Tensor all = objective->errors(field, p.x, p.z, p.t, with_span(span));
    for (std::int64_t row = 0; row < 6; ++row) {
      const auto one = [&](const at::Tensor& rows) { return rows.narrow(0, row, 1); };
      const at::Tensor alone = objective->errors(field, one(p.x), one(p.z), one(p.t), with_span(one(span)));
      EXPECT_TRUE(alone.allclose(one(all), 1e-4, 1e-8)) << name << ", row " << row;
    }
    const at::Tensor none = objective->errors(field, p.x, p.z, p.t, with_span(at::zeros_like(span)));
    EXPECT_TRUE(none.index({span == 0}).equal(all.index({span == 0}))) << name;
    Condition unsaid = with_span(span);
    unsaid.span.reset();
    EXPECT_TRUE(objective->errors(field, p.x, p.z, p.t, unsaid).equal(none)) << name;
  }
}

// With the factor that its target's reach asks for, 1/100 of the consistency's rows with a span.
TEST(FlowMap, ALossWeighsRowsByTheirErrors) {
  const SpiralPairs p;
  Spiral field(0.3);
  const at::Tensor span = at::where(at::arange(p.t.size(0)).remainder(3) == 0, 0.0, p.span).to(at::kFloat);
  for (const std::string& name : flow_maps)
    for (const double power : {0.0, 0.5, 1.0}) {
      const auto objective = flow_map(name, {.map_weight_power = power, .map_step = 0.01});
      const at::Tensor errors = objective->errors(field, p.x, p.z, p.t, with_span(span));
      const at::Tensor reach = at::where(span > 0, name == "consistency" ? 0.01 : 1, 1.0);
      const double exponent = name == "shortcut" ? 0 : power;
      const at::Tensor expected = (reach * errors / (errors + 0.01 / 2).pow(exponent)).mean();
      EXPECT_TRUE(objective->loss(field, p.x, p.z, p.t, with_span(span)).allclose(expected.to(at::kFloat), 1e-5, 1e-8))
          << name << ", power " << power;
      EXPECT_EQ(objective->has_score(), exponent == 0) << name << ", power " << power;
    }
}

// Gradients come through what the network puts out at the row itself, not through its targets and weights.
TEST(FlowMap, TargetsAndWeightsAreConstants) {
  torch::manual_seed(2);
  LinearFlow field;
  constexpr std::int64_t rows = 12;
  const at::Tensor x = as_images(at::randn({rows, 2})), z = as_images(at::randn({rows, 2}));
  const at::Tensor span = 0.1 + 0.4 * at::rand({rows}), t = span + (1 - span) * at::rand({rows});
  for (const std::string& name : flow_maps) {
    const auto objective = flow_map(name);
    const at::Tensor x_t = at::lerp(x, z, per_row(t, x));
    at::Tensor target;
    {
      const torch::NoGradGuard no_grad;
      target = objective->map_target(field, {x_t, z - x, t, with_span(span)});
    }
    const double reach = name == "consistency" ? 0.01 : 1, power = name == "shortcut" ? 0 : 1;
    const at::Tensor rows_error =
        (field.forward(x_t, t, with_span(span)) - target).square().mean({1, 2, 3}) / (reach * reach);
    const at::Tensor expected = (reach * rows_error / (rows_error.detach() + 0.005).pow(power)).mean();
    const auto wanted = torch::autograd::grad({expected}, field.parameters());
    const auto found = torch::autograd::grad({objective->loss(field, x, z, t, with_span(span))}, field.parameters());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_TRUE(found[i].allclose(wanted[i], 1e-3, 1e-4)) << name << ": " << found[i] << " for " << wanted[i];
  }
}

/// Notes the type of its products.
class NotesTypes : public TestField {
public:
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) override {
    const at::Tensor product = at::mm(x.flatten(1), at::eye(2));
    types.push_back(product.scalar_type());
    return product.to(x.scalar_type()).view(x.sizes());
  }
  std::vector<at::ScalarType> types;
};

TEST(FlowMap, TargetsAreComputedInFloat32) {
  const SpiralPairs p;
  for (const auto& [name, passes] : std::map<std::string, int>{{"shortcut", 2}, {"consistency", 1}, {"meanflow", 3}}) {
    const auto objective = flow_map(name);
    NotesTypes field;
    {
      const Autocast autocast("bfloat16", at::kCPU);
      objective->loss(field, p.x, p.z, p.t, with_span(p.span));
    }
    std::vector<at::ScalarType> expected(1, name == "consistency" ? at::kFloat : at::kBFloat16);
    expected.insert(expected.end(), static_cast<std::size_t>(passes), at::kFloat);
    EXPECT_EQ(field.types, expected) << name;
    EXPECT_DOUBLE_EQ(objective->training_passes(4), 3 + 0.25 * passes)
        << "as many as are made of a quarter of the rows";
    EXPECT_DOUBLE_EQ(objective->error_passes(4), 1 + 0.25 * passes);
  }
}

/// u = W x, by a product that autocast rounds.
class Product : public TestField {
public:
  Product() { w = register_parameter("w", at::eye(2) * 0.3); }
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) override {
    return at::mm(x.flatten(1), w).to(x.scalar_type()).view(x.sizes());
  }
  at::Tensor w;
};

// A row of `consistency` compares answers of the network that differ by a hundredth of what is wrong with them.
TEST(FlowMap, AFineComparisonLosesNothingToBfloat16) {
  const SpiralPairs p;
  const auto objective = flow_map("consistency");
  Product field;
  const auto loss_in = [&](const char* precision) {
    const Autocast autocast(precision, at::kCPU);
    return objective->loss(field, p.x.to(at::kFloat), p.z.to(at::kFloat), p.t.to(at::kFloat),
                           with_span(p.span.to(at::kFloat)));
  };
  const at::Tensor wanted = loss_in("float32"), found = loss_in("bfloat16");
  EXPECT_EQ(found.item<double>(), wanted.item<double>());
  const auto gradient = [&](const at::Tensor& loss) { return torch::autograd::grad({loss}, {field.w})[0]; };
  EXPECT_TRUE(gradient(found).equal(gradient(wanted)));
}

TEST(FlowMap, DrawsItsShareOfSpans) {
  constexpr int draws = 20000;
  constexpr double share = 0.3;
  const auto velocity = find_objective("velocity").make(find_path("linear").make({}), {-0.2, 1});
  for (const std::string& name : flow_maps) {
    const auto objective = flow_map(name, {.time_mean = -0.2, .time_std = 1, .map_share = share});
    int with_spans = 0;
    std::map<double, int> levels;
    double later = 0;
    for (std::uint64_t i = 0; i < draws; ++i) {
      Draws of_map(5, Purpose::time, i), again(5, Purpose::time, i), plain(5, Purpose::time, i),
          second(5, Purpose::time, i);
      const RowTimes drawn = objective->draw_times(of_map);
      EXPECT_EQ(drawn.t, objective->draw_times(again).t) << "a function of the index";
      ASSERT_TRUE(drawn.span >= 0 && drawn.span <= drawn.t && drawn.t <= 1) << drawn.t << " over " << drawn.span;
      const double time = velocity->draw_time(plain);
      if (drawn.span == 0) {
        ASSERT_EQ(drawn.t, time) << "the time of the objective velocity";
        continue;
      }
      ++with_spans;
      ++levels[drawn.span];
      later += drawn.t == time;
      if (name == "shortcut") {
        ASSERT_EQ(std::fmod(drawn.t, drawn.span), 0);
      }
    }
    const double error = std::sqrt(share * (1 - share) / draws);
    EXPECT_NEAR(with_spans / static_cast<double>(draws), share, 3 * error) << name;
    if (name == "shortcut") {
      ASSERT_EQ(levels.size(), 7U);
      for (const auto& [span, count] : levels) {
        EXPECT_GE(span, 1.0 / 64);
        EXPECT_NEAR(count / static_cast<double>(with_spans), 1.0 / 7, 3 * std::sqrt(6.0 / 49 / with_spans)) << span;
      }
    } else {
      EXPECT_NEAR(later / with_spans, 0.5, 3 * std::sqrt(0.25 / with_spans)) << name << ": either may be the later";
    }
  }
}

TEST(FlowMap, OtherPathsAreRefused) {
  for (const std::string& name : flow_maps)
    for (const auto& path :
         {find_path("vp").make({}), find_path("ve").make({}), find_path("linear").make({.sigma_min = 0.1})})
      try {
        make_objective(name, path, {.section = "student.short"});
        ADD_FAILURE() << name << " is not refused";
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), exit_usage);
        const std::string message = error.what();
        EXPECT_NE(message.find("student.short.objective = " + name), std::string::npos) << message;
        EXPECT_NE(message.find("set student.short.path = linear with student.short.sigma-min = 0"), std::string::npos)
            << message;
      }
}

}  // namespace
}  // namespace couplet
