#include "pipeline/tensor/group_norm.h"

#include "pipeline/tensor/image_norm.h"
#include "pipeline/tensor/own_operation.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

namespace couplet {
namespace {

using torch::autograd::AutogradContext, torch::autograd::variable_list;

/// The same by LibTorch's operations: on other devices, in double, and where gradients are to have gradients.
at::Tensor by_operations(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         const GroupNormOptions& o, const at::Tensor& scale, const at::Tensor& shift) {
  at::Tensor y = at::group_norm(x.to(weight.scalar_type()), o.groups, weight, bias, o.eps);
  const auto over_pixels = [&](const at::Tensor& of_channels) {
    return of_channels.to(y.scalar_type()).unsqueeze(2).unsqueeze(3);
  };
  if (scale.defined()) y = at::addcmul(over_pixels(shift), y, 1 + over_pixels(scale));
  return (o.silu ? at::silu(y) : y).to(x.scalar_type());
}

bool is_dense(const at::Tensor& x) {
  return x.is_contiguous() || x.is_contiguous(at::MemoryFormat::ChannelsLast);
}
bool by_own_passes(const at::Tensor& x, const at::Tensor& weight) {
  return x.is_cpu() && x.dim() == 4 && x.numel() > 0 && weight.scalar_type() == at::kFloat &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

/// `x` as passes read it: its values in memory in the order of `layout`.
at::Tensor in_layout(const at::Tensor& x, const ImageLayout& layout) {
  return x.contiguous(layout.channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
}
ImageLayout layout_of(const at::Tensor& x, std::int64_t groups) {
  return {x.size(1), x.size(2) * x.size(3), groups,
          !x.is_contiguous() && x.is_contiguous(at::MemoryFormat::ChannelsLast)};
}

/// What one image's values are multiplied by and what is added: h = factor x + offset.
class ImageMap {
public:
  explicit ImageMap(std::int64_t channels) : factor_(static_cast<std::size_t>(channels)), offset_(factor_.size()) {}

  /// Takes over [C] of weight, bias, scale and shift (null: 0), and [G] of the moments.
  void fill(const ImageLayout& layout, const float* weight, const float* bias, const float* scale, const float* shift,
            const float* mean, const float* inverse) {
    const std::int64_t of_group = layout.channels / layout.groups;
    for (std::int64_t c = 0; c < layout.channels; ++c) {
      const std::int64_t g = c / of_group;
      const float more = scale == nullptr ? 1 : 1 + scale[c], slope = inverse[g] * weight[c] * more;
      factor_[static_cast<std::size_t>(c)] = slope;
      offset_[static_cast<std::size_t>(c)] = bias[c] * more + (shift == nullptr ? 0 : shift[c]) - mean[g] * slope;
    }
  }
  ChannelMap map(bool silu) const { return {factor_.data(), offset_.data(), silu}; }

private:
  std::vector<float> factor_, offset_;
};

const float* row_of(const at::Tensor& t, std::int64_t row) {
  return t.defined() ? t.const_data_ptr<float>() + row * t.size(1) : nullptr;
}
/// float [N, C], whole in memory; undefined stays so.
at::Tensor of_channels(const at::Tensor& t) {
  return t.defined() ? t.detach().to(at::kFloat).contiguous() : t;
}

class GroupNorm : public torch::autograd::Function<GroupNorm> {
public:
  using MaybeTensor = std::optional<at::Tensor>;

  static at::Tensor forward(AutogradContext* context, const at::Tensor& any_x, const at::Tensor& weight,
                            const at::Tensor& bias, const MaybeTensor& maybe_scale, const MaybeTensor& maybe_shift,
                            const GroupNormOptions& o) {
    const at::Tensor any_scale = maybe_scale.value_or(at::Tensor()), any_shift = maybe_shift.value_or(at::Tensor());
    const at::Tensor x = is_dense(any_x) ? any_x : any_x.contiguous();
    const ImageLayout layout = layout_of(x, o.groups);
    const std::int64_t rows = x.size(0);
    const at::Tensor y = at::empty_like(x), mean = at::empty({rows, o.groups}, at::kFloat),
                     inverse = at::empty_like(mean);
    const at::Tensor scale = of_channels(any_scale), shift = of_channels(any_shift);
    const auto *w = weight.const_data_ptr<float>(), *b = bias.const_data_ptr<float>();
    auto *means = mean.data_ptr<float>(), *inverses = inverse.data_ptr<float>();
    by_type(x.scalar_type(), [&]<class T>(T) {
      const auto* from = values_of<T>(x);
      auto* to = changed_values_of<T>(y);
      at::parallel_for(0, rows, 1, [&](std::int64_t first, std::int64_t end) {
        ImageMap image(layout.channels);
        for (std::int64_t row = first; row < end; ++row) {
          const std::int64_t at = row * layout.values();
          float *of_mean = means + row * o.groups, *of_inverse = inverses + row * o.groups;
          group_moments(from + at, layout, o.eps, of_mean, of_inverse);
          image.fill(layout, w, b, row_of(scale, row), row_of(shift, row), of_mean, of_inverse);
          map_channels(from + at, layout, image.map(o.silu), to + at);
        }
      });
    });
    context->save_for_backward({any_x, weight, bias, any_scale, any_shift, mean, inverse});
    context->saved_data["groups"] = o.groups;
    context->saved_data["eps"] = o.eps;
    context->saved_data["silu"] = o.silu;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const GroupNormOptions o{context->saved_data["groups"].toInt(), context->saved_data["eps"].toDouble(),
                             context->saved_data["silu"].toBool()};
    return at::GradMode::is_enabled() ? backward_with_graph(saved, gradients[0], o)
                                      : backward_by_passes(saved, gradients[0], o);
  }

private:
  static variable_list backward_with_graph(const variable_list& saved, const at::Tensor& gradient,
                                           const GroupNormOptions& o) {
    variable_list all = gradients_with_graph(
        {saved.begin(), saved.begin() + 5}, gradient,
        [&](const variable_list& in) { return by_operations(in[0], in[1], in[2], o, in[3], in[4]); });
    all.resize(6);
    return all;
  }

  /// With u = (x - mean) · inverse, g the gradient of h = u (1 + scale) weight + ..., and averages over the group:
  /// that of x is inverse · (a g - mean(a g) - u mean(a g u)), a = (1 + scale) weight.
  static variable_list backward_by_passes(const variable_list& saved, const at::Tensor& gradient,
                                          const GroupNormOptions& o) {
    const at::Tensor x = is_dense(saved[0]) ? saved[0].detach() : saved[0].detach().contiguous();
    const ImageLayout layout = layout_of(x, o.groups);
    const at::Tensor slope = in_layout(gradient.to(x.scalar_type()), layout), &mean = saved[5], &inverse = saved[6];
    const at::Tensor scale = of_channels(saved[3]), shift = of_channels(saved[4]);
    const std::int64_t rows = x.size(0), channels = layout.channels, of_group = channels / layout.groups;
    const at::Tensor x_slope = at::empty_like(x);
    // Sums of g and of g u over the pixels of each image.
    const at::Tensor plain = at::empty({rows, channels}, at::kDouble), product = at::empty_like(plain);
    const auto *w = saved[1].const_data_ptr<float>(), *b = saved[2].const_data_ptr<float>();
    auto *plains = plain.data_ptr<double>(), *products = product.data_ptr<double>();
    const double count = static_cast<double>(of_group * layout.pixels);
    by_type(x.scalar_type(), [&]<class T>(T) {
      const auto *from = values_of<T>(x), *from_slope = values_of<T>(slope);
      auto* to = changed_values_of<T>(x_slope);
      at::parallel_for(0, rows, 1, [&](std::int64_t first, std::int64_t end) {
        ImageMap image(channels);
        std::vector<float> centre(static_cast<std::size_t>(channels)), drift(centre.size()), pull(centre.size());
        for (std::int64_t row = first; row < end; ++row) {
          const std::int64_t at = row * layout.values();
          const float *means = row_of(mean, row), *inverses = row_of(inverse, row), *more = row_of(scale, row);
          double *sum = plains + row * channels, *with_u = products + row * channels;
          image.fill(layout, w, b, more, row_of(shift, row), means, inverses);
          for (std::size_t c = 0; c < centre.size(); ++c) centre[c] = means[c / static_cast<std::size_t>(of_group)];
          const ChannelMap map = image.map(o.silu);
          gradient_sums(from + at, from_slope + at, layout, map, centre.data(), sum, with_u);
          for (std::int64_t g = 0; g < layout.groups; ++g) {
            double average = 0, average_u = 0;
            for (std::int64_t c = g * of_group; c < (g + 1) * of_group; ++c) {
              with_u[c] *= static_cast<double>(inverses[g]);
              const double a = static_cast<double>(w[c]) * (more == nullptr ? 1 : 1 + static_cast<double>(more[c]));
              average += a * sum[c] / count;
              average_u += a * with_u[c] / count;
            }
            const auto i = static_cast<double>(inverses[g]);
            std::fill_n(drift.begin() + g * of_group, of_group, static_cast<float>(i * average));
            std::fill_n(pull.begin() + g * of_group, of_group, static_cast<float>(i * i * average_u));
          }
          map_gradient(from + at, from_slope + at, layout, map, {map.factor, centre.data(), drift.data(), pull.data()},
                       to + at);
        }
      });
    });
    variable_list all(6);
    all[0] = x_slope;
    const at::Tensor weight = saved[1].detach().to(at::kDouble), bias = saved[2].detach().to(at::kDouble);
    const at::Tensor more = scale.defined() ? 1 + scale.to(at::kDouble) : at::ones({1, 1}, at::kDouble);
    all[1] = (more * product).sum(0).to(at::kFloat);
    all[2] = (more * plain).sum(0).to(at::kFloat);
    if (scale.defined()) all[3] = (product * weight + plain * bias).to(saved[3].scalar_type());
    if (shift.defined()) all[4] = plain.to(saved[4].scalar_type());
    return all;
  }
};

}  // namespace

at::Tensor group_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      const GroupNormOptions& options, const at::Tensor& scale, const at::Tensor& shift) {
  if (x.size(1) % options.groups != 0)
    fail("group norm: {} channels do not divide into {} groups", x.size(1), options.groups);
  if (scale.defined() != shift.defined() || (scale.defined() && scale.size(0) != x.size(0)))
    fail("group norm: scale and shift are given together, a row for each of {} rows", x.size(0));
  if (!by_own_passes(x, weight)) return by_operations(x, weight, bias, options, scale, shift);
  const auto maybe = [](const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; };
  return GroupNorm::apply(x, weight, bias, maybe(scale), maybe(shift), options);
}

}  // namespace couplet
