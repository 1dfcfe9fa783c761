#include "pipeline/training/observation.h"

#include "pipeline/optimizer/ema.h"
#include "storage/clock.h"

#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>

#include <chrono>

namespace couplet {
namespace {

/// While it lives, the model is in evaluation mode and no gradients are recorded.
class Evaluating {
public:
  explicit Evaluating(torch::nn::Module& model) : model_(model), trained_(model.is_training()) { model_.eval(); }
  ~Evaluating() { model_.train(trained_); }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

private:
  torch::nn::Module& model_;
  bool trained_;
  at::NoGradGuard no_grad_;
};

bool is_multiple(std::int64_t done, std::int64_t every) {
  return every > 0 && done % every == 0;
}

}  // namespace

Observation observe(const TrainingTask& task, torch::nn::Module& model, const NamedTensors& averages, std::int64_t done,
                    std::int64_t steps) {
  const bool validates = task.validate && (done == steps || is_multiple(done, task.validate_every));
  const bool previews = task.preview && is_multiple(done, task.preview_every);
  Observation seen;
  if (!validates && !previews) return seen;
  const auto start = std::chrono::steady_clock::now();
  const Evaluating evaluating(model);
  if (validates) {
    const nlohmann::json raw = task.validate();
    for (const auto& [name, figure] : raw.items()) seen.figures["raw_" + name] = figure;
  }
  const WithEma averaged(model, averages);
  if (validates) seen.figures.update(task.validate());
  if (previews) {
    Preview preview = task.preview();
    seen.figures.update(preview.figures);
    seen.picture = std::move(preview.picture);
  }
  seen.figures["observation_pause"] = seconds_since(start);
  return seen;
}

}  // namespace couplet
