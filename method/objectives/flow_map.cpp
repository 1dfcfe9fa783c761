#include "method/objectives/flow_map.h"

#include "pipeline/tensor/flops.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace couplet {
namespace {

constexpr double weight_floor = 0.01;  ///< c, of the sum of squares

/// Factors [N] of rows: `value` of those with a span, 1 of the others.
at::Tensor where_spans(const Condition& condition, double value, const at::Tensor& rows) {
  if (!condition.span.defined()) return at::ones_like(rows);
  return at::where(condition.span.gt(0), value, 1.0).to(rows.scalar_type());
}

/// While it lives, this thread computes in float32, whatever the precision of training.
struct AllDigits {
  const at::NoTF32Guard no_tf32;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
};

}  // namespace

FlowMap::FlowMap(std::shared_ptr<const Path> path, const ObjectiveOptions& options, const Kind& kind)
    : Objective(std::move(path), options), map_share_(options.map_share), kind_(kind) {
  if (!is_straight(this->path()))
    refuse(
        "{0}.objective = {1} learns a flow map on straight lines between image and noise: set {0}.path = linear with "
        "{0}.sigma-min = 0",
        options.section, kind.name);
}

RowTimes FlowMap::draw_times(Draws& draws) const {
  const double time = draw_time(draws);
  return draws.uniform() < map_share_ ? draw_map_times(time, draws) : RowTimes{time, 0};
}

RowTimes FlowMap::draw_map_times(double time, Draws& draws) const {
  const double other = draw_time(draws);
  return {std::max(time, other), std::abs(time - other)};
}

double FlowMap::training_passes(std::int64_t) const {
  return forward_passes_a_training_image + map_share_ * target_passes();
}

at::Tensor FlowMap::errors(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                           const Condition& condition) const {
  const at::Tensor x_t = path().state(x, z, t), velocity = target(x, z, t);
  const at::Tensor output = [&] {
    std::optional<AllDigits> all_digits;
    if (kind_.reach < 1) all_digits.emplace();
    return field.forward(x_t, t, condition).to(at::kFloat);
  }();
  at::Tensor wanted = velocity;
  if (condition.span.defined()) {
    const at::NoGradGuard no_grad;
    const AllDigits all_digits{};
    const at::Tensor with_span = condition.span.gt(0).nonzero().squeeze(1);
    const auto of = [&](const at::Tensor& rows) { return rows.index_select(0, with_span); };
    if (with_span.numel() > 0)
      wanted = velocity.index_copy(0, with_span,
                                   map_target(field, {of(x_t), of(velocity), of(t), condition.at_rows(with_span)}));
  }
  const at::Tensor rows = at::mse_loss(output, wanted, at::Reduction::None).flatten(1).mean(1);
  return kind_.reach == 1 ? rows : rows / where_spans(condition, kind_.reach * kind_.reach, rows);
}

at::Tensor FlowMap::loss(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                         const Condition& condition) const {
  at::Tensor rows = errors(field, x, z, t, condition);
  if (kind_.weight_power != 0) {
    const double floor = weight_floor * static_cast<double>(x.size(0)) / static_cast<double>(x.numel());
    rows = rows / (rows.detach() + floor).pow(kind_.weight_power);
  }
  return (kind_.reach == 1 ? rows : rows * where_spans(condition, kind_.reach, rows)).mean();
}

at::Tensor mean_velocity(Field& field, const at::Tensor& x, const at::Tensor& t, const at::Tensor& span,
                         Condition condition) {
  condition.span = span;
  return field.forward(x, t, condition).to(at::kFloat);
}

at::Tensor total_derivative(Field& field, const MapRows& rows, const at::Tensor& direction, double step) {
  const auto at = [&](double way) {
    return mean_velocity(field, rows.x_t + direction * way, rows.t + way, rows.span() + way, rows.condition);
  };
  return (at(step) - at(-step)) / (2 * step);
}

}  // namespace couplet
