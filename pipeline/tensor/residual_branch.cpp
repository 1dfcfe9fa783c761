#include "pipeline/tensor/residual_branch.h"

#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/own_operation.h"
#include "pipeline/tensor/token_passes.h"
#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace couplet {
namespace {

using torch::autograd::AutogradContext, torch::autograd::variable_list;

/// What stands between the two linear layers.
struct Between {
  std::int64_t heads = 0;  ///< of attention; 0: GELU
  bool causal = false;
  Gelu gelu = Gelu::erf;
};

at::Tensor branch_by_operations(const at::Tensor& x, const ResidualBranch& b, const Between& between) {
  const bool of_images = b.factor.dim() == 2;
  at::Tensor h = of_images ? at::addcmul(b.offset.unsqueeze(1), at::layer_norm(x, {x.size(-1)}, {}, {}, b.eps),
                                         b.factor.unsqueeze(1))
                           : at::layer_norm(x, {x.size(-1)}, b.factor, b.offset, b.eps);
  h = linear(h, b.in_weight, b.in_bias);
  if (between.heads > 0) {
    const auto parts = h.view({x.size(0), x.size(1), 3, between.heads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
    h = attention(parts[0], parts[1], parts[2], between.causal).transpose(1, 2).reshape(x.sizes());
  } else {
    h = at::gelu(h, between.gelu == Gelu::tanh ? "tanh" : "none");
  }
  at::Tensor y = linear(h, b.out_weight, b.out_bias);
  if (b.mask.defined()) y = y * b.mask;
  return b.gate.defined() ? at::addcmul(x, b.gate.unsqueeze(1), y) : x + y;
}

/// The values [C] of an image in [C] or [N, C], or null in an undefined tensor.
const float* of_image(const at::Tensor& t, std::int64_t image) {
  if (!t.defined()) return nullptr;
  return t.const_data_ptr<float>() + (t.dim() == 2 ? image * t.stride(0) : 0);
}

/// Calls work(T(), image) for each of `images`, on the threads; T is that of a product's values.
template <class Work>
void each_image(std::int64_t images, at::ScalarType type, const Work& work) {
  at::parallel_for(0, images, 1, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t image = first; image < end; ++image) by_type(type, [&]<class T>(T one) { work(one, image); });
  });
}

/// [N, T, parts, heads, d] to [parts, N, heads, T, d], or back.
void turn_heads(const at::Tensor& tokens_first, const at::Tensor& heads_first, bool back) {
  const std::int64_t parts = heads_first.size(0), images = heads_first.size(1), heads = heads_first.size(2),
                     tokens = heads_first.size(3);
  const auto bytes = static_cast<std::size_t>(heads_first.size(4)) * heads_first.element_size();
  auto *one = changed_values_of<std::byte>(tokens_first), *other = changed_values_of<std::byte>(heads_first);
  const auto place = [&](std::byte* from, std::int64_t index) {
    return from + static_cast<std::size_t>(index) * bytes;
  };
  at::parallel_for(0, images, 1, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t image = first; image < end; ++image)
      for (std::int64_t part = 0; part < parts; ++part)
        for (std::int64_t head = 0; head < heads; ++head)
          for (std::int64_t token = 0; token < tokens; ++token) {
            auto* a = place(one, ((image * tokens + token) * parts + part) * heads + head);
            auto* b = place(other, ((part * images + image) * heads + head) * tokens + token);
            back ? std::memcpy(a, b, bytes) : std::memcpy(b, a, bytes);
          }
  });
}

/// Sums over the tokens of each image, then over the images: [channels] of x [N, T, channels].
at::Tensor bias_gradient(const at::Tensor& x) {
  const TokenLayout layout{x.size(1), x.size(2)};
  const at::Tensor sums = at::empty({x.size(0), x.size(2)}, at::kFloat);
  each_image(x.size(0), x.scalar_type(), [&]<class T>(T, std::int64_t image) {
    token_sums(values_of<T>(x) + image * layout.values(), layout,
               changed_values_of<float>(sums) + image * layout.channels);
  });
  return sums.sum(0);
}

at::Tensor rows_of(const at::Tensor& x) {
  return x.view({-1, x.size(-1)});
}

/// x and the parameters of a branch as the passes read them, products' weights in the products' type.
struct Inputs {
  at::Tensor x, factor, offset, in_weight, in_bias, out_weight, out_bias, gate;
  double eps;
  Between between;

  std::int64_t images() const { return x.size(0); }
  TokenLayout layout() const { return {x.size(1), x.size(2)}; }
  at::ScalarType type() const { return in_weight.scalar_type(); }
};

/// What the backward pass needs besides.
struct Kept {
  at::Tensor mean, inverse;  ///< [N, T]
  at::Tensor normed;         ///< [N, T, C]
  at::Tensor hidden;         ///< GELU: [N, T, M] before it; attention: [3, N, heads, T, d]
  at::Tensor weights;        ///< attention: [N heads, T, T]
  at::Tensor mixed;          ///< attention: [N, T, C]
  at::Tensor added;          ///< [N, T, C] before the gate, where there is one
};

/// [N heads, T, d] of a part of [3, N, heads, T, d].
at::Tensor part_of(const at::Tensor& hidden, std::int64_t part) {
  return hidden.select(0, part).flatten(0, 1);
}
float score_scale(const at::Tensor& hidden) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(hidden.size(-1))));
}

at::Tensor attended(const Inputs& in, const at::Tensor& projected, Kept& kept) {
  const auto images = in.images(), tokens = in.x.size(1), channels = in.x.size(2), heads = in.between.heads;
  kept.hidden = at::empty({3, images, heads, tokens, channels / heads}, projected.options());
  turn_heads(projected, kept.hidden, /*back=*/false);
  kept.weights = at::bmm(part_of(kept.hidden, 0), part_of(kept.hidden, 1).transpose(1, 2));
  each_image(images * heads, in.type(), [&]<class T>(T, std::int64_t i) {
    softmax_scores(changed_values_of<T>(kept.weights) + i * tokens * tokens, tokens, score_scale(kept.hidden),
                   in.between.causal);
  });
  const at::Tensor mixed = at::bmm(kept.weights, part_of(kept.hidden, 2));
  kept.mixed = at::empty(in.x.sizes(), projected.options());
  turn_heads(kept.mixed, mixed.view({1, images, heads, tokens, channels / heads}), /*back=*/true);
  return kept.mixed;
}
/// The gradient of the projections [N, T, 3 C] from that of what was mixed.
at::Tensor attention_gradient(const Inputs& in, const Kept& kept, const at::Tensor& slope) {
  const auto images = in.images(), tokens = in.x.size(1), channels = in.x.size(2), heads = in.between.heads;
  const at::Tensor of_mixed = at::empty({1, images, heads, tokens, channels / heads}, slope.options());
  turn_heads(slope, of_mixed, /*back=*/false);
  const at::Tensor mixed = part_of(of_mixed, 0), q = part_of(kept.hidden, 0), k = part_of(kept.hidden, 1),
                   v = part_of(kept.hidden, 2);
  const at::Tensor scores = at::bmm(mixed, v.transpose(1, 2)), parts = at::empty_like(kept.hidden);
  each_image(images * heads, in.type(), [&]<class T>(T, std::int64_t i) {
    const auto first = i * tokens * tokens;
    softmax_gradient(values_of<T>(kept.weights) + first, tokens, score_scale(kept.hidden),
                     changed_values_of<T>(scores) + first);
  });
  at::Tensor of_q = part_of(parts, 0), of_k = part_of(parts, 1), of_v = part_of(parts, 2);
  at::bmm_out(of_q, scores, k);
  at::bmm_out(of_k, scores.transpose(1, 2), q);
  at::bmm_out(of_v, kept.weights.transpose(1, 2), mixed);
  at::Tensor projected = at::empty({images, tokens, 3 * channels}, slope.options());
  turn_heads(projected, parts, /*back=*/true);
  return projected;
}

at::Tensor gelu_of(const Inputs& in, const at::Tensor& hidden) {
  if (in.between.gelu == Gelu::erf) return at::gelu(hidden);
  const at::Tensor y = at::empty_like(hidden);
  const auto count = hidden.size(1) * hidden.size(2);
  each_image(in.images(), in.type(), [&]<class T>(T, std::int64_t i) {
    gelu_tanh(values_of<T>(hidden) + i * count, count, changed_values_of<T>(y) + i * count);
  });
  return y;
}
/// The gradient of `hidden` from that of GELU's values, whose memory it may take, and these values once more.
std::pair<at::Tensor, at::Tensor> gelu_gradient(const Inputs& in, const at::Tensor& hidden, const at::Tensor& slope) {
  if (in.between.gelu == Gelu::erf) return {at::gelu_backward(slope, hidden), at::gelu(hidden)};
  const at::Tensor y = at::empty_like(hidden);
  const auto count = hidden.size(1) * hidden.size(2);
  each_image(in.images(), in.type(), [&]<class T>(T, std::int64_t i) {
    gelu_tanh_gradient(values_of<T>(hidden) + i * count, count, changed_values_of<T>(slope) + i * count,
                       changed_values_of<T>(y) + i * count);
  });
  return {slope, y};
}

at::Tensor branch_forward(const Inputs& in, Kept& kept) {
  const auto images = in.images();
  const TokenLayout layout = in.layout();
  const auto options = in.x.options().dtype(in.type());
  kept.mean = at::empty({images, layout.tokens}, at::kFloat);
  kept.inverse = at::empty_like(kept.mean);
  kept.normed = at::empty(in.x.sizes(), options);
  const auto* x = in.x.const_data_ptr<float>();
  auto *mean = kept.mean.data_ptr<float>(), *inverse = kept.inverse.data_ptr<float>();
  each_image(images, in.type(), [&]<class T>(T, std::int64_t i) {
    norm_tokens(x + i * layout.values(), layout, in.eps, of_image(in.factor, i), of_image(in.offset, i),
                mean + i * layout.tokens, inverse + i * layout.tokens,
                changed_values_of<T>(kept.normed) + i * layout.values());
  });
  const at::Tensor projected = product(kept.normed, in.in_weight, in.in_bias);
  at::Tensor middle;
  if (in.between.heads > 0) {
    middle = attended(in, projected, kept);
  } else {
    kept.hidden = projected;
    middle = gelu_of(in, projected);
  }
  const at::Tensor y = product(middle, in.out_weight, in.out_bias), out = at::empty_like(in.x);
  if (in.gate.defined()) kept.added = y;
  each_image(images, in.type(), [&]<class T>(T, std::int64_t i) {
    const auto first = i * layout.values();
    add_gated(x + first, layout, of_image(in.gate, i), values_of<T>(y) + first, changed_values_of<float>(out) + first);
  });
  return out;
}

/// The gradients of Inputs' tensors in their order; `wanted` says of which weights and biases.
variable_list branch_backward(const Inputs& in, const Kept& kept, const at::Tensor& slope,
                              const std::function<bool(std::size_t)>& wanted) {
  const auto images = in.images();
  const TokenLayout layout = in.layout();
  const at::Tensor of_added = at::empty_like(kept.normed), sums = at::empty({3, images, layout.channels}, at::kFloat);
  const auto *x = in.x.const_data_ptr<float>(), *slopes = slope.const_data_ptr<float>();
  const auto sum_of = [&](std::int64_t which, std::int64_t image) {
    return sums.data_ptr<float>() + (which * images + image) * layout.channels;
  };
  each_image(images, in.type(), [&]<class T>(T, std::int64_t i) {
    const auto first = i * layout.values();
    gate_gradient(slopes + first, layout, of_image(in.gate, i),
                  in.gate.defined() ? values_of<T>(kept.added) + first : nullptr,
                  changed_values_of<T>(of_added) + first, sum_of(2, i));
  });
  at::Tensor of_middle = product(of_added, in.out_weight.t()), middle = kept.mixed, of_projected;
  if (in.between.heads > 0) {
    of_projected = attention_gradient(in, kept, of_middle);
  } else {
    std::tie(of_projected, middle) = gelu_gradient(in, kept.hidden, of_middle);
  }
  const at::Tensor of_normed = product(of_projected, in.in_weight.t()), of_x = at::empty_like(in.x);
  const auto *mean = kept.mean.const_data_ptr<float>(), *inverse = kept.inverse.const_data_ptr<float>();
  each_image(images, in.type(), [&]<class T>(T, std::int64_t i) {
    const auto first = i * layout.values(), token = i * layout.tokens;
    norm_gradient(x + first, layout, of_image(in.factor, i), mean + token, inverse + token,
                  values_of<T>(of_normed) + first, slopes + first, changed_values_of<float>(of_x) + first, sum_of(0, i),
                  sum_of(1, i));
  });
  const auto as_given = [&](std::int64_t which) {
    return in.factor.dim() == 2 ? sums.select(0, which) : sums.select(0, which).sum(0);
  };
  variable_list all{of_x, as_given(0), as_given(1), {}, {}, {}, {}, {}};
  if (wanted(3)) all[3] = weight_gradient(rows_of(of_projected), rows_of(kept.normed)).to(at::kFloat);
  if (wanted(4)) all[4] = bias_gradient(of_projected);
  if (wanted(5)) all[5] = weight_gradient(rows_of(of_added), rows_of(middle)).to(at::kFloat);
  if (wanted(6)) all[6] = bias_gradient(of_added);
  if (in.gate.defined()) all[7] = sums.select(0, 2);
  return all;
}

Inputs inputs_of(const at::Tensor& x, const ResidualBranch& b, const Between& between, at::ScalarType type) {
  const auto of_channels = [](const at::Tensor& t) { return !t.defined() || t.stride(-1) == 1 ? t : t.contiguous(); };
  const auto of_product = [&](const at::Tensor& t) { return t.to(type); };
  return {x.contiguous(),
          of_channels(b.factor),
          of_channels(b.offset),
          of_product(b.in_weight),
          of_product(b.in_bias),
          of_product(b.out_weight),
          of_product(b.out_bias),
          of_channels(b.gate),
          b.eps,
          between};
}

class Branch : public torch::autograd::Function<Branch> {
public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& factor,
                            const at::Tensor& offset, const at::Tensor& in_weight, const at::Tensor& in_bias,
                            const at::Tensor& out_weight, const at::Tensor& out_bias,
                            const std::optional<at::Tensor>& gate, double eps, const Between& between,
                            at::ScalarType type) {
    const ResidualBranch branch{
        eps, factor, offset, in_weight, in_bias, out_weight, out_bias, gate.value_or(at::Tensor()), {}};
    const Inputs in = inputs_of(x, branch, between, type);
    Kept kept;
    const at::Tensor out = branch_forward(in, kept);
    context->save_for_backward({x, factor, offset, in_weight, in_bias, out_weight, out_bias, branch.gate,  //
                                in.in_weight, in.out_weight, kept.mean, kept.inverse, kept.normed, kept.hidden,
                                kept.weights, kept.mixed, kept.added});
    context->saved_data["eps"] = eps;
    context->saved_data["heads"] = between.heads;
    context->saved_data["causal"] = between.causal;
    context->saved_data["gelu"] = static_cast<std::int64_t>(between.gelu);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Between between{context->saved_data["heads"].toInt(), context->saved_data["causal"].toBool(),
                          static_cast<Gelu>(context->saved_data["gelu"].toInt())};
    const double eps = context->saved_data["eps"].toDouble();
    const auto type = saved[8].scalar_type();
    variable_list all = at::GradMode::is_enabled() ? with_graph(saved, gradients[0], eps, between, type)
                                                   : by_passes(*context, saved, gradients[0], eps, between);
    all.resize(11);
    return all;
  }

private:
  static ResidualBranch branch_of(const variable_list& t, double eps) {
    return {eps, t[1], t[2], t[3], t[4], t[5], t[6], t[7], {}};
  }

  static variable_list with_graph(const variable_list& saved, const at::Tensor& gradient, double eps,
                                  const Between& between, at::ScalarType type) {
    const Autocast autocast(type == at::kBFloat16 ? "bfloat16" : "float32", at::kCPU);
    const UncachedAutocast uncached;
    return gradients_with_graph({saved.begin(), saved.begin() + 8}, gradient, [&](const variable_list& in) {
      return branch_by_operations(in[0], branch_of(in, eps), between);
    });
  }

  static variable_list by_passes(AutogradContext& context, const variable_list& saved, const at::Tensor& gradient,
                                 double eps, const Between& between) {
    Inputs in = inputs_of(saved[0], branch_of(saved, eps), between, at::kFloat);
    in.in_weight = saved[8];
    in.out_weight = saved[9];
    const Kept kept{saved[10], saved[11], saved[12], saved[13], saved[14], saved[15], saved[16]};
    const c10::impl::ExcludeDispatchKeyGuard types_are_chosen_here(c10::autocast_dispatch_keyset);
    return branch_backward(in, kept, gradient.contiguous(), [&](std::size_t i) { return context.needs_input_grad(i); });
  }
};

bool branch_by_passes(const at::Tensor& x, const ResidualBranch& b, const Between& between) {
  if (!x.is_cpu() || b.mask.defined() || twice_differentiable_here() || x.numel() == 0) return false;
  for (const at::Tensor& t : {x, b.factor, b.offset, b.in_weight, b.in_bias, b.out_weight, b.out_bias, b.gate})
    if (t.defined() && t.scalar_type() != at::kFloat) return false;
  for (const at::Tensor& t : {b.factor, b.offset, b.gate})
    if (t.defined() && t.dim() == 2 && t.size(0) != x.size(0)) return false;
  return between.heads == 0 || x.size(1) <= most_tokens_of_plain_products;
}

at::Tensor with_branch(const at::Tensor& x, const ResidualBranch& b, const Between& between) {
  if (!branch_by_passes(x, b, between)) return branch_by_operations(x, b, between);
  const auto type =
      at::autocast::is_autocast_enabled(at::kCPU) ? at::autocast::get_autocast_dtype(at::kCPU) : at::kFloat;
  if (type != at::kFloat && type != at::kBFloat16) return branch_by_operations(x, b, between);
  const c10::impl::ExcludeDispatchKeyGuard types_are_chosen_here(c10::autocast_dispatch_keyset);
  if (!at::GradMode::is_enabled()) {
    Kept kept;
    return branch_forward(inputs_of(x, b, between, type), kept);
  }
  return Branch::apply(x, b.factor, b.offset, b.in_weight, b.in_bias, b.out_weight, b.out_bias,
                       b.gate.defined() ? std::optional(b.gate) : std::nullopt, b.eps, between, type);
}

}  // namespace

at::Tensor with_attention(const at::Tensor& x, const ResidualBranch& branch, std::int64_t heads, bool causal) {
  return with_branch(x, branch, {heads, causal, Gelu::erf});
}
at::Tensor with_mlp(const at::Tensor& x, const ResidualBranch& branch, Gelu gelu) {
  return with_branch(x, branch, {0, false, gelu});
}

}  // namespace couplet
