// Solution consistency (SoFlow, arXiv 2512.15657): F(x_t, t, s) = x_t - (t - s) u(x_t, t, s), the state that the map
// reaches at s, is the same from all points of a path. From x_t and from x_l = x_t - (t - l) (z - x), a little further
// on the pair's own line, it differs by
//   (F(x_t, t, s) - F(x_l, l, s)) / (t - l) = (r (z - x) + (1 - r) u(x_l, l, s) - u(x_t, t, s)) / r,  r = (t - l) / (t
//   - s),
// the right side without a divisor that vanishes with the span. Its square is the error. SoFlow's weight 1 / (t - s) of
// ‖F - F‖² / (t - l) leaves r times that, whose gradient is bounded as r goes to 0, where it becomes MeanFlow's.
// SoFlow lowers r in training from 0.1 to 0.002; here it is student.map-step throughout. What a network with dropout
// drops of a row, it drops at both points: one map is compared with itself.
#include "method/objectives/flow_map.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>

namespace couplet {
namespace {

class ConsistencyObjective : public FlowMap {
public:
  ConsistencyObjective(std::shared_ptr<const Path> path, const ObjectiveOptions& options)
      : FlowMap(std::move(path), options, {"consistency", options.map_weight_power, options.map_step}),
        step_(options.map_step) {}

  at::Tensor map_target(Field& field, const MapRows& rows) const override {
    const at::Tensor way = step_ * rows.span();
    const at::Tensor x_l = rows.x_t - per_row(way, rows.x_t) * rows.velocity;
    const at::Tensor further = mean_velocity(field, x_l, rows.t - way, rows.span() - way, rows.condition);
    return at::lerp(further, rows.velocity, step_);
  }

protected:
  double target_passes() const override { return 1; }

private:
  double step_;
};

}  // namespace

ObjectiveKind consistency_objective() {
  return {.name = "consistency",
          .help =
              "solution consistency: a flow map that leads to the same image from all points of a pair's line "
              "(arXiv 2512.15657)",
          .keys = {"student.map-share", "student.map-weight-power", "student.map-step"},
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<ConsistencyObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
