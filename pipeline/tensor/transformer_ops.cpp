#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

thread_local bool twice_differentiable = false;  ///< TwiceDifferentiable

using OneDnnLinear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                std::string_view, c10::List<std::optional<at::Scalar>>,
                                std::optional<std::string_view>);

/// oneDNN's linear layer on plain tensors, or nothing where this LibTorch has none.
const std::optional<c10::TypedOperatorHandle<OneDnnLinear>>& onednn_linear() {
  static const auto found = []() -> std::optional<c10::TypedOperatorHandle<OneDnnLinear>> {
    const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!schema || !at::globalContext().hasMKLDNN()) return std::nullopt;
    return schema->typed<OneDnnLinear>();
  }();
  return found;
}

/// x [n, k] Wᵀ + b with W [m, k]. Where a graph of it is wanted (gradients of gradients), by the operation that has
/// one.
at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  if (at::GradMode::is_enabled()) return at::linear(x, weight, bias);
  return onednn_linear()->call(x, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), std::nullopt);
}

/// gradientᵀ x [m, k], with the narrower factor on the left: oneDNN copies that one to turn it.
at::Tensor narrower_left(const at::Tensor& gradient, const at::Tensor& x) {
  if (gradient.size(1) <= x.size(1)) return multiply(gradient.t(), x.t(), std::nullopt);
  return multiply(x.t(), gradient.t(), std::nullopt).t().contiguous();
}

class Linear : public torch::autograd::Function<Linear> {
public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    context->save_for_backward({x, weight});
    return multiply(x, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1];
    const auto gradient = gradients[0].contiguous();
    at::Tensor of_x, of_weight, of_bias;
    if (context->needs_input_grad(0)) of_x = multiply(gradient, weight.t(), std::nullopt);
    const auto rows = gradient.reshape({-1, weight.size(0)});
    if (context->needs_input_grad(1)) of_weight = narrower_left(rows, x.reshape({-1, weight.size(1)}));
    if (context->needs_input_grad(2)) of_bias = rows.sum(0);
    return {of_x, of_weight, of_bias};
  }
};

bool by_onednn(const at::Tensor& x, const at::Tensor& weight) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
         !at::autocast::is_autocast_enabled(at::kCPU) && at::globalContext().userEnabledMkldnn() && x.numel() > 0 &&
         onednn_linear().has_value();
}

at::Tensor attention_by_products(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal) {
  const auto tokens = q.size(2);
  const auto scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  // Scores are in float32 at least, from here to the softmax's end: mask + scale · q kᵀ.
  const auto exact = q.options().dtype(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  const auto mask = causal ? at::full({tokens, tokens}, -std::numeric_limits<double>::infinity(), exact).triu(1)
                           : at::zeros({1, 1}, exact);
  const auto scores = at::add(mask, at::matmul(q, k.transpose(2, 3)), scale);
  return at::matmul(at::softmax(scores, -1).to(q.scalar_type()), v);
}

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!by_onednn(x, weight)) return at::linear(x, weight, bias);
  const bool recorded =
      at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad() || bias.requires_grad());
  if (recorded) return Linear::apply(x, weight, bias);
  const at::NoGradGuard no_grad;
  return multiply(x, weight, bias);
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  return by_onednn(x, weight) ? multiply(x, weight, bias) : at::linear(x, weight, bias);
}
at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& x) {
  return by_onednn(x, gradient) ? narrower_left(gradient, x) : at::mm(gradient.t(), x);
}

bool twice_differentiable_here() {
  return twice_differentiable;
}
TwiceDifferentiable::TwiceDifferentiable() : before_(std::exchange(twice_differentiable, true)) {}
TwiceDifferentiable::~TwiceDifferentiable() {
  twice_differentiable = before_;
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal) {
  const auto fused = [&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
    return at::scaled_dot_product_attention(a, b, c, {}, /*dropout_p=*/0.0, causal);
  };
  if (!q.is_cpu()) return twice_differentiable ? attention_by_products(q, k, v, causal) : fused(q, k, v);
  const c10::impl::ExcludeDispatchKeyGuard types_are_chosen_here(c10::autocast_dispatch_keyset);
  if (twice_differentiable || q.size(2) <= most_tokens_of_plain_products) return attention_by_products(q, k, v, causal);
  const auto type = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return fused(q.to(type), k.to(type), v.to(type)).to(q.scalar_type());
}

}  // namespace couplet
