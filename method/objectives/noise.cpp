// The network is the noise: ‖f(x_t, t) - z‖² (DDPM, arXiv 2006.11239).
#include "method/objectives/objective.h"
#include "method/objectives/safe_times.h"

#include <memory>
#include <utility>

namespace couplet {
namespace {

class NoiseObjective : public Objective {
public:
  NoiseObjective(std::shared_ptr<const Path> along, const ObjectiveOptions& options)
      : Objective(std::move(along), options), last_(last_time_of_noise(path())) {}

  at::Tensor target(const at::Tensor&, const at::Tensor& z, const at::Tensor&) const override { return z; }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor& x_t, const at::Tensor& t) const override {
    return path().velocity_of_noise(output, x_t, t);
  }
  double last_time() const override { return last_; }

private:
  double last_;
};

}  // namespace

ObjectiveKind noise_objective() {
  return {.name = "noise",
          .help = "DDPM: the network gives the noise",
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<NoiseObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
