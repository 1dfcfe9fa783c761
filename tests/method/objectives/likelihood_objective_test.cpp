// Training a flow by maximum likelihood: against closed forms, an adaptive solver and finite differences.
#include "method/data/noise.h"
#include "method/models/fields/sit.h"
#include "method/objectives/objective.h"
#include "method/solvers/likelihood.h"
#include "pipeline/tensor/transformer_ops.h"
#include "storage/error.h"

#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <functional>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// A field of the test's own, over rows [N, 1, 1, D].
class TestedField : public Field {
public:
  std::int64_t no_label() const override { return 0; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }
};

/// A x + b
class LinearField : public TestedField {
public:
  explicit LinearField(std::int64_t dimension) {
    torch::manual_seed(4);
    a = register_parameter("a", torch::randn({dimension, dimension}, torch::kDouble) * 0.6);
    b = register_parameter("b", torch::randn({dimension}, torch::kDouble));
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) override {
    return (x.flatten(1).mm(a.t()) + b).view(x.sizes());
  }
  at::Tensor a, b;
};

/// W₃ tanh(W₂ tanh(W₁ [x, t]))
class Perceptron : public TestedField {
public:
  Perceptron(std::int64_t dimension, std::int64_t width, torch::Dtype type) {
    torch::manual_seed(5);
    const auto layer = [&](const char* name, std::int64_t from, std::int64_t to) {
      return register_module(name, torch::nn::Linear(from, to));
    };
    in = layer("in", dimension + 1, width), middle = layer("middle", width, width),
    out = layer("out", width, dimension);
    torch::nn::Module::to(type);
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition&) override {
    const at::Tensor values = torch::cat({x.flatten(1), t.to(x.scalar_type()).unsqueeze(1)}, 1);
    return out(torch::tanh(middle(torch::tanh(in(values))))).view(x.sizes());
  }
  torch::nn::Linear in{nullptr}, middle{nullptr}, out{nullptr};
};

std::shared_ptr<const Objective> likelihood(std::int64_t steps, const std::string& trace) {
  ObjectiveOptions options;
  options.cnf_steps = steps;
  options.cnf_trace = trace;
  return find_objective("likelihood").make(find_path("linear").make({}), options);
}

struct Rows {
  at::Tensor x, signs;
  at::Tensor t = torch::zeros({x.size(0)});
  Condition condition{torch::zeros({x.size(0)}, torch::kLong), {}};

  at::Tensor errors(const Objective& objective, Field& field) const {
    return objective.errors(field, x, signs, t, condition);
  }
};

Rows plane_rows(std::int64_t rows, std::int64_t dimension, torch::Dtype type = torch::kDouble) {
  torch::manual_seed(6);
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < rows; ++i) numbers.push_back(i);
  return {torch::randn({rows, 1, 1, dimension}, type),
          sign_rows({1, 1, dimension}, 3, Purpose::flow_probe, numbers).to(type)};
}

VelocityField velocity_of(Field& field, const Condition& condition) {
  return [&field, condition](const at::Tensor& x, double t) {
    return field.forward(x, torch::full({x.size(0)}, t, x.options()), condition);
  };
}

TEST(LikelihoodObjective, OfALinearFieldIsTheClosedForm) {
  const std::int64_t dimension = 3;
  LinearField field(dimension);
  const Rows rows = plane_rows(5, dimension);
  // d/dt [x, 1] = [A b; 0 0] [x, 1]: x_1 by one matrix exponential; the divergence is tr A throughout.
  torch::NoGradGuard no_grad;
  at::Tensor generator = torch::zeros({dimension + 1, dimension + 1}, torch::kDouble);
  generator.narrow(0, 0, dimension).narrow(1, 0, dimension).copy_(field.a);
  generator.narrow(0, 0, dimension).select(1, dimension).copy_(field.b);
  const at::Tensor map = torch::matrix_exp(generator).narrow(0, 0, dimension);
  const at::Tensor end = rows.x.flatten(1).mm(map.narrow(1, 0, dimension).t()) + map.select(1, dimension);
  const at::Tensor exact = (0.5 * end.square().sum(1) - field.a.trace()) / static_cast<double>(dimension) +
                           0.5 * std::log(2 * std::numbers::pi);
  const at::Tensor found = rows.errors(*likelihood(32, "exact"), field);
  EXPECT_LE((found - exact).abs().max().item<double>(), 1e-6) << found << exact;
}

TEST(LikelihoodObjective, MeetsTheAdaptiveSolver) {
  Perceptron field(4, 16, torch::kDouble);
  const Rows rows = plane_rows(6, 4);
  torch::NoGradGuard no_grad;
  for (const char* trace : {"exact", "hutchinson"}) {
    const at::Tensor probes = std::string(trace) == "exact" ? at::Tensor() : rows.signs.unsqueeze(0);
    const at::Tensor fine =
        flow_likelihood(velocity_of(field, rows.condition), rows.x, {1e-11, 1e-11}, probes).nats / -4;
    EXPECT_LE((rows.errors(*likelihood(64, trace), field) - fine).abs().max().item<double>(), 1e-8) << trace;
  }
}

TEST(LikelihoodObjective, GradientsAreThoseOfFiniteDifferences) {
  for (const char* trace : {"exact", "hutchinson"}) {
    Perceptron field(3, 8, torch::kDouble);
    const Rows rows = plane_rows(4, 3);
    const auto objective = likelihood(4, trace);
    const auto loss = [&] { return objective->loss(field, rows.x, rows.signs, rows.t, rows.condition); };
    loss().backward();
    for (const auto& parameter : field.named_parameters()) {
      torch::NoGradGuard no_grad;
      at::Tensor values = parameter.value().view({-1});
      for (const std::int64_t i : {std::int64_t{0}, values.size(0) / 2, values.size(0) - 1}) {
        constexpr double h = 1e-5;
        const double before = values[i].item<double>();
        values[i] = before + h;
        const double above = loss().item<double>();
        values[i] = before - h;
        const double below = loss().item<double>();
        values[i] = before;
        EXPECT_NEAR(parameter.value().grad().view({-1})[i].item<double>(), (above - below) / (2 * h), 1e-8)
            << trace << " " << parameter.key() << " " << i;
      }
    }
  }
}

// Over all signs of two values, εᵀ (∂v/∂x) ε is the trace on average; so is the estimate's gradient that of the exact
// one.
TEST(LikelihoodObjective, TheEstimateIsUnbiased) {
  const std::vector<std::vector<double>> all{{1, 1}, {1, -1}, {-1, 1}, {-1, -1}};
  Perceptron field(2, 8, torch::kDouble);
  Rows rows = plane_rows(3, 2);
  const auto gradient = [&](const std::string& trace) {
    field.zero_grad();
    likelihood(4, trace)->loss(field, rows.x, rows.signs, rows.t, rows.condition).backward();
    return field.middle->weight.grad().clone();
  };
  const at::Tensor exact = gradient("exact");
  at::Tensor mean = torch::zeros_like(exact);
  for (const auto& signs : all) {
    rows.signs = torch::tensor(signs, torch::kDouble).view({1, 1, 1, 2}).expand({3, 1, 1, 2}).contiguous();
    mean += gradient("hutchinson") / 4;
  }
  EXPECT_LE((mean - exact).abs().max().item<double>(), 1e-12);
  EXPECT_GT(exact.abs().max().item<double>(), 1e-3);
}

TEST(LikelihoodObjective, IsTheSameWithAndWithoutGradients) {
  Perceptron field(4, 16, torch::kFloat);
  const Rows rows = plane_rows(6, 4, torch::kFloat);
  const at::Tensor recorded = rows.errors(*likelihood(3, "hutchinson"), field);
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(rows.errors(*likelihood(3, "hutchinson"), field).equal(recorded.detach()));
}

// Eight Gaussians of deviation 0.1 on a circle of radius 2, whose entropy is ln 8 + ln(2πe σ²) = 0.31 nats.
TEST(LikelihoodObjective, LearnsEightGaussians) {
  Perceptron field(2, 48, torch::kFloat);
  torch::manual_seed(8);
  const auto draw = [](std::int64_t count) {
    const at::Tensor angle = torch::randint(8, {count}) * (std::numbers::pi / 4);
    return (2 * torch::stack({angle.cos(), angle.sin()}, 1) + 0.1 * torch::randn({count, 2})).view({count, 1, 1, 2});
  };
  const auto objective = likelihood(6, "exact");
  torch::optim::Adam adam(field.parameters(), torch::optim::AdamOptions(1e-2));
  const auto nats = [&](const at::Tensor& x) {
    const Rows rows{x, torch::ones_like(x)};
    return 2 * objective->loss(field, rows.x, rows.signs, rows.t, rows.condition);
  };
  const at::Tensor held_out = draw(500);
  const double before = nats(held_out).item<double>();
  for (int step = 0; step < 120; ++step) {
    adam.zero_grad();
    nats(draw(128)).backward();
    adam.step();
  }
  const double after = nats(held_out).item<double>();
  std::cout << "8 Gaussians: " << before << " -> " << after << " nats\n";
  EXPECT_LT(after, before - 1);
  EXPECT_GT(after, std::log(8) + std::log(2 * std::numbers::pi * std::numbers::e * 0.01) - 0.1) << "no bound is beaten";
}

/// A tiny SiT with weights that are not those it starts with, which put out nothing. Of more than 256 tokens, where a
/// fused kernel is faster.
std::shared_ptr<Field> tiny_sit(std::int64_t size, bool recompute) {
  FieldOptions options;
  options.image_channels = 1, options.image_size = size, options.patch = 1;
  options.channels = 8, options.depth = 2, options.heads = 2, options.num_classes = 2;
  options.recompute = recompute;
  const std::shared_ptr<Field> field = find_field("sit").make(options, 1);
  torch::NoGradGuard no_grad;
  torch::manual_seed(9);
  for (at::Tensor& parameter : field->parameters()) parameter.add_(torch::randn_like(parameter) * 0.1);
  return field;
}

TEST(LikelihoodObjective, TrainsATransformer) {
  for (const std::int64_t size : {std::int64_t{4}, std::int64_t{17}}) {
    const std::shared_ptr<Field> field = tiny_sit(size, false), again = tiny_sit(size, true);
    torch::manual_seed(10);
    const at::Tensor x = torch::randn({2, 1, size, size}),
                     signs = torch::randint(2, x.sizes()).to(torch::kFloat) * 2 - 1;
    const Rows rows{x, signs};
    const auto objective = likelihood(2, "hutchinson");
    const auto loss = [&](Field& of) { return objective->loss(of, rows.x, rows.signs, rows.t, rows.condition); };
    loss(*field).backward();
    loss(*again).backward();
    double square = 0;
    for (const auto& parameter : field->named_parameters()) {
      const at::Tensor &gradient = parameter.value().grad(), other = again->named_parameters()[parameter.key()].grad();
      ASSERT_TRUE(gradient.defined()) << parameter.key();
      EXPECT_TRUE(other.allclose(gradient, 1e-4, 1e-6)) << parameter.key() << " with layers computed again";
      square += gradient.square().sum().item<double>();
    }
    // Along the gradient the loss falls as fast as it is long.
    const double length = std::sqrt(square), h = 2e-2;
    const auto moved = [&](double by) {
      torch::NoGradGuard no_grad;
      for (at::Tensor& parameter : field->parameters()) parameter.add_(parameter.grad(), by / length);
      return loss(*field).item<double>();
    };
    const double above = moved(h), below = moved(-2 * h);
    EXPECT_NEAR((above - below) / (2 * h), length, 0.02 * length) << size;
  }
}

TEST(LikelihoodObjective, AttentionWithGradientsOfGradientsIsTheSame) {
  torch::manual_seed(11);
  const at::Tensor q = torch::randn({1, 2, 300, 8}), k = torch::randn_like(q), v = torch::randn_like(q);
  const at::Tensor fused = attention(q, k, v, false);
  const TwiceDifferentiable kernels;
  EXPECT_TRUE(attention(q, k, v, false).allclose(fused, 1e-4, 1e-5));
}

class ExplodingPath : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return torch::ones_like(t); }
  at::Tensor sigma(const at::Tensor& t) const override { return t * 50; }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return torch::zeros_like(t); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return torch::full_like(t, 50); }
  double prior_scale() const override { return 50; }
};

TEST(LikelihoodObjective, RefusesAPath) {
  try {
    ObjectiveOptions options;
    options.section = "student.cnf";
    find_objective("likelihood").make(std::make_shared<ExplodingPath>(), options);
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("leave student.cnf.path at linear"), std::string::npos) << error.what();
  }
}

TEST(LikelihoodObjective, CountsItsWork) {
  // Four evaluations a step, each with a forward pass and one for each trace.
  EXPECT_EQ(likelihood(3, "hutchinson")->error_passes(10), 4 * 3 * 2);
  EXPECT_EQ(likelihood(3, "exact")->error_passes(10), 4 * 3 * 11);
  EXPECT_EQ(likelihood(3, "exact")->training_passes(10), 4 * 4 * 3 * 11);
}

}  // namespace
}  // namespace couplet
