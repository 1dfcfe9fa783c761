// The derivative that MeanFlow's loss takes of a network along its flow, against the exact one.
#include "method/objectives/flow_map.h"

#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

const double step = find_objective("meanflow").make(find_path("linear").make({}), {})->difference_step();

/// A field that depends on all that it sees, with its spans.
std::shared_ptr<Field> perturbed(const std::string& name, FieldOptions options) {
  options.spans = true;
  const std::shared_ptr<Field> field = find_field(name).make(options, 3);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : field->parameters()) parameter.add_(torch::randn_like(parameter), 0.1);
  return field;
}

MapRows some_rows(const FieldOptions& options) {
  constexpr std::int64_t rows = 6;
  const at::Tensor span = 0.8 * at::rand({rows}), t = span + (1 - span) * at::rand({rows});
  const auto image = [&] { return at::randn({rows, options.image_channels, options.image_size, options.image_size}); };
  return {image(), image(), t, {at::arange(rows).remainder(options.num_classes), {}, {}, span}};
}

/// J (direction, 1, 1): Jᵀ w is linear in w, so that its derivative by w along the way is J itself times it.
at::Tensor exact_derivative(Field& field, const MapRows& rows, const at::Tensor& direction) {
  const TwiceDifferentiable kernels;
  const at::Tensor x = rows.x_t.detach().requires_grad_(true), t = rows.t.detach().requires_grad_(true),
                   span = rows.span().detach().requires_grad_(true);
  Condition condition = rows.condition;
  condition.span = span;
  const at::Tensor u = field.forward(x, t, condition);
  const at::Tensor w = at::zeros_like(u).requires_grad_(true);
  const auto back = torch::autograd::grad({u}, {x, t, span}, {w}, true, /*create_graph=*/true);
  const at::Tensor along = (back[0] * direction).sum() + back[1].sum() + back[2].sum();
  return torch::autograd::grad({along}, {w})[0];
}

double relative_error(const std::string& name, const FieldOptions& options) {
  torch::manual_seed(7);
  const std::shared_ptr<Field> field = perturbed(name, options);
  const MapRows rows = some_rows(options);
  const at::Tensor direction = rows.velocity;
  const at::Tensor exact = exact_derivative(*field, rows, direction);
  const torch::NoGradGuard no_grad;
  const at::Tensor found = total_derivative(*field, rows, direction, step);
  EXPECT_GT(exact.norm().item<double>(), 0.1 * field->forward(rows.x_t, rows.t, rows.condition).norm().item<double>());
  return ((found - exact).norm() / exact.norm()).item<double>();
}

FieldOptions images() {
  return {.image_channels = 1, .image_size = 8, .num_classes = 3, .patch = 2, .channels = 32, .depth = 2, .heads = 2};
}

TEST(MeanFlow, TheDifferenceIsTheDerivativeOfEveryNetwork) {
  EXPECT_LE(relative_error("sit", images()), 1e-3);
  FieldOptions points{.image_channels = 2, .image_size = 1, .num_classes = 3};
  points.depth = 3;
  EXPECT_LE(relative_error("mlp", points), 1e-3);
  FieldOptions net = images();
  net.multipliers = {1, 2};
  net.blocks = 1;
  for (const double scale : {1.0, 30.0}) {
    net.time_scale = scale;
    EXPECT_LE(relative_error("unet", net), 1e-3) << "time scale " << scale;
  }
  net.time_scale = 1000;
  EXPECT_GT(relative_error("unet", net), 1e-2) << "as whose objective it is refused";
}

// The mean velocity obeys u = v - (t - s) du/dt: for du/dt by hand the target is known.
TEST(MeanFlow, TheTargetTakesTheDerivativeAlongTheNetworksOwnVelocity) {
  torch::manual_seed(5);
  const FieldOptions options = images();
  const std::shared_ptr<Field> field = perturbed("sit", options);
  const MapRows rows = some_rows(options);
  const auto objective =
      std::dynamic_pointer_cast<const FlowMap>(make_objective("meanflow", find_path("linear").make({}), {}));
  Condition at_once = rows.condition;
  at_once.span.reset();
  const at::Tensor own = field->forward(rows.x_t, rows.t, at_once).detach();
  const at::Tensor expected = rows.velocity - per_row(rows.span(), own) * exact_derivative(*field, rows, own);
  const torch::NoGradGuard no_grad;
  const at::Tensor found = objective->map_target(*field, rows);
  EXPECT_LE(((found - expected).norm() / expected.norm()).item<double>(), 1e-3);
}

}  // namespace
}  // namespace couplet
