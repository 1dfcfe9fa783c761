// The network is the velocity itself: ‖f(x_t, t) - dx_t/dt‖² (flow matching, arXiv 2210.02747; NFM, arXiv 2603.09014).
#include "method/objectives/objective.h"

#include <utility>

namespace couplet {
namespace {

class VelocityObjective : public Objective {
public:
  using Objective::Objective;

  at::Tensor target(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const override {
    return path().velocity(x, z, t);
  }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor&, const at::Tensor&) const override { return output; }
};

}  // namespace

ObjectiveKind velocity_objective() {
  return {.name = "velocity",
          .help = "flow matching: the network gives the path's velocity",
          .make = [](std::shared_ptr<const Path> path, const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<VelocityObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
