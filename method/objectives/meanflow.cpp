// MeanFlow (arXiv 2505.13447) in its improved form (arXiv 2512.02012): the mean velocity u obeys u = v - (t - s) du/dt
// along its path, so V = u + (t - s) du/dt is to be the velocity: ‖V - (z - x)‖², with no gradients through du/dt. Its
// direction is the network's own velocity u(x_t, t, 0), not the pair's z - x: that one scatters, and the loss with it.
#include "method/objectives/flow_map.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>

namespace couplet {
namespace {

class MeanFlowObjective : public FlowMap {
public:
  MeanFlowObjective(std::shared_ptr<const Path> path, const ObjectiveOptions& options)
      : FlowMap(std::move(path), options, {"meanflow", options.map_weight_power}) {}

  double difference_step() const override { return 1e-3; }

  at::Tensor map_target(Field& field, const MapRows& rows) const override {
    const at::Tensor direction = mean_velocity(field, rows.x_t, rows.t, at::zeros_like(rows.t), rows.condition);
    const at::Tensor slope = total_derivative(field, rows, direction, difference_step());
    return rows.velocity - per_row(rows.span(), slope) * slope;
  }

protected:
  double target_passes() const override { return 3; }
};

}  // namespace

ObjectiveKind meanflow_objective() {
  return {.name = "meanflow",
          .help = "MeanFlow, improved: a flow map that obeys the equation of mean velocities (arXiv 2512.02012)",
          .keys = {"student.map-share", "student.map-weight-power"},
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<MeanFlowObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
