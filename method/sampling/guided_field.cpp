#include "method/sampling/guided_field.h"

#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/fitting_rows.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace couplet {

void check(const Guidance& guidance) {
  if (!(guidance.from >= 0 && guidance.from < guidance.to && guidance.to <= 1)) {
    refuse("guidance from t = {} to {}: the interval lies within 0 (data) to 1 (noise), its start below its end",
           guidance.from, guidance.to);
  }
  if (guidance.scale == 1 && (guidance.from > 0 || guidance.to < 1)) {
    refuse("guidance from t = {} to {} at scale 1, which is no guidance: give a scale or leave the interval out",
           guidance.from, guidance.to);
  }
}

StudentFlow::StudentFlow(StudentModel student, const Guidance& guidance, std::string precision, double temperature)
    : student_(std::move(student)), guidance_(guidance), precision_(std::move(precision)), temperature_(temperature) {
  if (temperature != 1 && !starts_from_noise())
    fail("a student that starts from a source of its own has no temperature, and was given {}", temperature);
}

VelocityField StudentFlow::velocity(const Condition& asked_for) const {
  Condition known = asked_for;
  if (!student_.labelled) known.labels = at::full_like(known.labels, student_.field->no_label());
  return [flow = *this, condition = std::move(known)](const at::Tensor& x, double t, double span) {
    const std::shared_ptr<Field>& field = flow.student_.field;
    const Objective* objective = flow.student_.objective.get();
    const Autocast autocast(flow.precision_, x.device());
    const double time = std::clamp(t, objective->first_time(), objective->last_time());
    return by_fitting_rows(x.size(0), x.device(), [&](std::int64_t first, std::int64_t count) {
      const at::Tensor rows = x.narrow(0, first, count);
      const at::Tensor times = at::full({count}, time, x.options());
      const FieldInput asked = objective->input(rows, times);
      Condition part = condition.narrow(first, count);
      if (objective->is_flow_map()) part.span = at::full({count}, span, x.options());
      const at::Tensor output =
          guided_output(*field, asked.x, asked.t, part, flow.guidance_.acts_at(t) ? flow.guidance_.scale : 1);
      return objective->velocity(output, rows, times);
    });
  };
}

NoisyPath StudentFlow::along(SolverNoise noise) const {
  const std::shared_ptr<const Objective>& objective = student_.objective;
  if (!objective->has_score() || !starts_from_noise()) return {};
  return {{objective, &objective->path()}, objective->first_time(), objective->last_time(), std::move(noise)};
}

at::Tensor StudentFlow::start(const at::Tensor& z, const Condition& condition) const {
  const at::Tensor noise = student_.source ? student_.source(z, condition) : z;
  const double scale = prior_scale() * temperature_;
  return scale == 1 ? noise : noise * scale;
}

}  // namespace couplet
