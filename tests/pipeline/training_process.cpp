// Started by the kill test: training_process DIRECTORY STEPS KILL_AT. Trains the regression; the last rank kills itself
// after the update of step KILL_AT.
#include "pipeline/communicator.h"
#include "regression_task.h"

#include <fmt/format.h>

#include <csignal>
#include <string>

int main(int argc, char** argv) {
  using namespace couplet;
  if (argc != 4) return 2;
  try {
    const auto ranks = make_communicator("cpu");
    Regression model(1);
    TrainingTask task = regression_task(argv[1], model, std::stoll(argv[2]));
    const std::int64_t kill_at = std::stoll(argv[3]);
    task.after_step = [&](const Batch& batch) {
      model.updates.add_(1);
      const std::int64_t step = batch[2][0].item<std::int64_t>() / task.training.batch;
      if (step == kill_at && ranks->rank() == ranks->size() - 1) raise(SIGKILL);
    };
    const TrainingResult result = train(task, model, regression_pipeline(5), *ranks, at::kCPU);
    if (ranks->is_root()) write_tensors(task.directory / "weights.safetensors", result.weights);
    if (ranks->is_root()) write_tensors(task.directory / "ema.safetensors", result.ema);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    abort_all(1);
  }
}
