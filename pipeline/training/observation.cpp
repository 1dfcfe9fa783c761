#include "pipeline/training/observation.h"

#include "pipeline/optimizer/ema.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/fitting_rows.h"
#include "storage/clock.h"

#include <chrono>
#include <utility>

namespace couplet {
namespace {

bool is_multiple(std::int64_t done, std::int64_t every) {
  return every > 0 && done % every == 0;
}

void look(const TrainingTask& task, torch::nn::Module& model, const NamedTensors& averages, bool validates,
          bool previews, Observation& seen) {
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
}

}  // namespace

Observation observe(const TrainingTask& task, torch::nn::Module& model, const std::function<NamedTensors()>& averages,
                    std::int64_t done, std::int64_t steps, DeviceMemory& memory, const Communicator& communicator) {
  const bool validates = task.validate && (done == steps || is_multiple(done, task.validate_every));
  const bool previews = task.preview && is_multiple(done, task.preview_every);
  Observation seen;
  if (!validates && !previews) return seen;
  const auto start = std::chrono::steady_clock::now();
  const Evaluating evaluating(model);
  const FittingRows fitting(memory.is_host() ? nullptr : &memory, task.rows_at_once, "evaluate.rows-at-once");
  try {
    look(task, model, averages(), validates, previews, seen);
  } catch (const MemoryExhausted& error) {  // on every rank
    if (communicator.is_root())
      warn_line(fmt::format("{}: step {} goes without {}: {}; training goes on", task.name, done,
                            previews && validates ? "some of its validation and samples"
                            : previews            ? "samples"
                                                  : "validation",
                            error.what()));
  }
  seen.figures["observation_pause"] = seconds_since(start);
  return seen;
}

}  // namespace couplet
