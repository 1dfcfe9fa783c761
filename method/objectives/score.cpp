// Denoising score matching: σ² ‖f(x_t, t) + z/σ‖² (arXiv 1907.05600; arXiv 2011.13456 §3.3 with λ = σ²).
#include "method/objectives/score_network.h"

#include <memory>

namespace couplet {
namespace {

class ScoreObjective : public ScoreNetwork {
public:
  using ScoreNetwork::ScoreNetwork;

  at::Tensor weight(const at::Tensor& t) const override { return path().sigma(t).square(); }
};

}  // namespace

ObjectiveKind score_objective() {
  return {.name = "score",
          .help = "score matching: the network gives the score, its errors weighted by the noise's variance",
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<ScoreObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
