// Score matching whose loss bounds the likelihood (ScoreFlow, arXiv 2101.09258): over uniform times g² ‖f + z/σ‖².
// Times by importance, of density g²/σ² over its integral, leave σ² ‖f + z/σ‖², the square error of the noise, and the
// same mean but for that integral, a constant that is left out (score_flow's likelihood weighting).
#include "method/objectives/score_network.h"

#include <memory>

namespace couplet {
namespace {

class ScoreFlowObjective : public ScoreNetwork {
public:
  ScoreFlowObjective(std::shared_ptr<const Path> along, const ObjectiveOptions& options)
      : ScoreNetwork(std::move(along), options),
        by_importance_(parse_time_law(options.time_law) == TimeLaw::importance) {}

  at::Tensor weight(const at::Tensor& t) const override {
    return by_importance_ ? path().sigma(t).square() : path().diffusion(t);
  }

private:
  bool by_importance_;
};

}  // namespace

ObjectiveKind scoreflow_objective() {
  return {
      .name = "scoreflow",
      .help = "score matching weighted for likelihood; student.time-law = importance draws its times with less noise",
      .time_laws = {"importance", "uniform"},
      .make = [](std::shared_ptr<const Path> path,
                 const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
        return std::make_shared<ScoreFlowObjective>(std::move(path), options);
      }};
}

}  // namespace couplet
