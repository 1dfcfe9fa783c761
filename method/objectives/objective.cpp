#include "method/objectives/objective.h"

#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/flops.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace couplet {
namespace {

/// [N]: means over the rows' values, times `factors` where these are defined.
at::Tensor row_errors(const at::Tensor& made, const at::Tensor& wanted, const at::Tensor& factors) {
  const at::Tensor rows = at::mse_loss(made, wanted, at::Reduction::None).flatten(1).mean(1);
  return factors.defined() ? factors * rows : rows;
}

}  // namespace

TimeLaw parse_time_law(const std::string& name) {
  if (name == "logit-normal") return TimeLaw::logit_normal;
  if (name == "uniform") return TimeLaw::uniform;
  if (name == "importance") return TimeLaw::importance;
  refuse("no law of training times '{}'; there are: logit-normal, uniform, importance", name);
}

Objective::Objective(std::shared_ptr<const Path> path, const ObjectiveOptions& options)
    : path_(std::move(path)), options_(options), law_(parse_time_law(options.time_law)) {}

FieldInput Objective::input(const at::Tensor& x_t, const at::Tensor& t) const {
  const at::Tensor scale = path().state_scale(t);
  return {scale.defined() ? x_t / per_row(scale, x_t) : x_t, t};
}

at::Tensor Objective::weight(const at::Tensor&) const {
  return {};
}

double Objective::draw_time(Draws& draws) const {
  const double first = first_time(), last = last_time();
  switch (law_) {
    case TimeLaw::logit_normal: {
      const double logit = options_.time_mean + options_.time_std * draws.normal();
      return std::clamp(1.0 / (1.0 + std::exp(-logit)), first, last);
    }
    case TimeLaw::uniform:
      return first + (last - first) * draws.uniform();
    case TimeLaw::importance: {
      const double from = path().log_ratio(first), to = path().log_ratio(last);
      return std::clamp(path().time_of_log_ratio(from + (to - from) * draws.uniform()), first, last);
    }
  }
  fail("unknown law of times {}", static_cast<int>(law_));
}

double Objective::training_passes(std::int64_t) const {
  return forward_passes_a_training_image + (options_.train_guidance == 1 ? 0 : 1);
}

at::Tensor Objective::output(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                             const Condition& condition) const {
  const FieldInput asked = input(path().state(x, z, t), t);
  return field.forward(asked.x, asked.t, condition).to(at::kFloat);
}

at::Tensor Objective::training_output(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                                      const Condition& condition) const {
  const at::Tensor own = output(field, x, z, t, condition);
  if (options_.train_guidance == 1) return own;
  const at::Tensor unlabelled = [&] {
    const at::NoGradGuard no_grad;
    const UncachedAutocast no_casts_without_gradients;
    Condition nothing_said = condition;
    nothing_said.labels = at::full_like(condition.labels, field.no_label());
    nothing_said.positions.reset();
    return output(field, x, z, t, nothing_said);
  }();
  const at::Tensor share = at::where(condition.labels.eq(field.no_label()), 1, 1 / options_.train_guidance).to(own);
  return at::lerp(unlabelled, own, per_row(share, own));
}

at::Tensor Objective::errors(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                             const Condition& condition) const {
  return row_errors(output(field, x, z, t, condition), target(x, z, t), weight(t));
}

at::Tensor Objective::loss(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                           const Condition& condition) const {
  const at::Tensor made = training_output(field, x, z, t, condition), wanted = target(x, z, t), factors = weight(t);
  if (factors.defined()) return row_errors(made, wanted, factors).mean();
  // One operation over all values: its sum is not that of the rows' means to the last bit.
  return at::mse_loss(made, wanted);
}

}  // namespace couplet
