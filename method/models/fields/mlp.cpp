#include "method/models/fields/mlp.h"

#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/transformer_ops.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/init.h>
#include <torch/utils.h>

#include <fmt/format.h>

#include <memory>
#include <numbers>
#include <utility>

namespace couplet {
namespace {

/// cos and sin of π k t, k = 1 … 8. The fastest wave turns four times between image and noise: much faster ones would
/// make the field so rough in t that adaptive solvers take many more steps.
constexpr std::int64_t wave_count = 8;
constexpr std::int64_t time_features_count = 1 + 2 * wave_count;

std::int64_t values_of(const FieldOptions& o) {
  return o.image_channels * o.image_size * o.image_size;
}
std::int64_t inputs_of(const FieldOptions& o) {
  return values_of(o) + o.condition_channels * o.image_size * o.image_size + time_features_count;
}

void check_mlp(const FieldOptions& o) {
  for (const auto& [name, value] : {std::pair{"channels", o.channels}, {"depth", o.depth}})
    if (value < 1) refuse("{}.{} = {}: must be at least 1", o.section, name, value);
}

std::int64_t mlp_parameters(const FieldOptions& o) {
  return (inputs_of(o) + 1) * o.channels + (o.depth - 1) * (o.channels + 1) * o.channels +
         (o.num_classes + 1) * o.channels + (o.channels + 1) * values_of(o) +
         (o.spans ? span_parameters(time_features_count, o.channels) : 0);
}

double mlp_flops(const FieldOptions& o) {
  return product_flops(1, inputs_of(o), o.channels) +
         static_cast<double>(o.depth - 1) * product_flops(1, o.channels, o.channels) +
         product_flops(1, o.channels, values_of(o)) + (o.spans ? span_flops(time_features_count, o.channels) : 0);
}

/// t, and its waves: [N, time_features_count].
at::Tensor time_features(const at::Tensor& t) {
  const at::Tensor angles = t.unsqueeze(1) * (at::arange(1, wave_count + 1, t.options()) * std::numbers::pi);
  return at::cat({t.unsqueeze(1), angles.cos(), angles.sin()}, 1);
}

}  // namespace

Mlp::Mlp(const FieldOptions& options) : options_(options) {
  using torch::nn::Embedding, torch::nn::Linear;
  check_mlp(options);
  auto& hidden = add_scope(*this, "hidden");
  for (std::int64_t i = 0; i < options.depth; ++i)
    hidden_.push_back(hidden.register_module(std::to_string(i),
                                             Linear(i == 0 ? inputs_of(options) : options.channels, options.channels)));
  labels_ = register_module("label_emb", Embedding(options.num_classes + 1, options.channels));
  out_ = register_module("out", Linear(options.channels, values_of(options)));
  const at::NoGradGuard no_grad;
  torch::nn::init::zeros_(out_->weight);
  torch::nn::init::zeros_(out_->bias);
  if (options.spans) spans_ = add_span_embedding(*this, time_features_count, options.channels);
}

at::Tensor Mlp::forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) {
  const at::ScalarType type = hidden_.front()->weight.scalar_type();
  std::vector<at::Tensor> inputs{x.flatten(1).to(type), time_features(t.to(type))};
  if (options_.condition_channels > 0)
    inputs.insert(inputs.begin() + 1, condition_image(x, condition, options_.condition_channels).flatten(1).to(type));
  at::Tensor added = labels_(at::where(condition.labels < 0, options_.num_classes, condition.labels));
  if (spans_) added = added + spans_(time_features(spans_of(condition.span, t).to(type)));
  at::Tensor values = linear(at::cat(inputs, 1), hidden_.front());
  values = at::silu(values + added.to(values.scalar_type()));
  for (std::size_t i = 1; i < hidden_.size(); ++i) values = at::silu(linear(values, hidden_[i]));
  return linear(values, out_).to(x.scalar_type()).view(x.sizes());
}

double Mlp::forward_flops() const {
  return mlp_flops(options_);
}

/// The inputs of the layers, and of SiLU.
std::int64_t Mlp::activation_values() const {
  return inputs_of(options_) + 2 * options_.depth * options_.channels;
}

std::map<std::string, std::string> Mlp::sizes() const {
  const FieldOptions& o = options_;
  std::map<std::string, std::string> sizes{{"network", "mlp"},
                                           {"channels", fmt::format("{}", o.channels)},
                                           {"depth", fmt::format("{}", o.depth)},
                                           {"image_channels", fmt::format("{}", o.image_channels)},
                                           {"image_size", fmt::format("{}", o.image_size)},
                                           {"condition_channels", fmt::format("{}", o.condition_channels)},
                                           {"num_classes", fmt::format("{}", o.num_classes)}};
  if (o.spans) sizes["spans"] = "true";
  return sizes;
}

FieldKind mlp_field() {
  return {.name = "mlp",
          .help = "a perceptron of student.depth hidden layers over all values at once, for points of the plane",
          .keys = {"student.depth"},
          .takes_images = true,
          .takes_spans = true,
          .time_rate = [](const FieldOptions&) { return wave_count * std::numbers::pi; },
          .check = check_mlp,
          .make = [](const FieldOptions& options, std::uint64_t seed) -> std::shared_ptr<Field> {
            torch::manual_seed(seed);
            return std::make_shared<Mlp>(options);
          },
          .parameter_count = mlp_parameters,
          .forward_flops = mlp_flops};
}

}  // namespace couplet
