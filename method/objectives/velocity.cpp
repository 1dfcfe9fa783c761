// The network is the velocity itself: ‖f(x_t, t) - dx_t/dt‖² (flow matching, arXiv 2210.02747; NFM, arXiv 2603.09014);
// where velocities do not stay near 1, in the path's unit of them, so that no times outweigh the others.
#include "method/objectives/objective.h"

#include <memory>
#include <utility>

namespace couplet {
namespace {

class VelocityObjective : public Objective {
public:
  using Objective::Objective;

  at::Tensor target(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const override {
    const at::Tensor velocity = path().velocity(x, z, t), scale = path().velocity_scale(t);
    return scale.defined() ? velocity / per_row(scale, x) : velocity;
  }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor&, const at::Tensor& t) const override {
    const at::Tensor scale = path().velocity_scale(t);
    return scale.defined() ? per_row(scale, output) * output : output;
  }
};

}  // namespace

ObjectiveKind velocity_objective() {
  return {.name = "velocity",
          .help = "flow matching: the network gives the path's velocity",
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<VelocityObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
