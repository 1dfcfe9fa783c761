// Started by tests, alone or under mpirun: training_process DIRECTORY [key=value ...]. Trains the network of
// network_task.h and writes what came out of it into DIRECTORY. Keys: steps; stop-at, kill-at: the step in which the
// last rank asks for a stop, or kills itself after the update; micro-batch; and of the pipeline: reproducible, slices,
// shard-optimizer, overlap, bucket-size, checkpoint-every.
#include "pipeline/distributed/communicator.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/process/interruption.h"
#include "pipeline/training/trainer.h"
#include "tests/pipeline/training/network_task.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <string>

namespace couplet {
namespace {

class Arguments {
public:
  Arguments(int count, char** texts) {
    for (int i = 2; i < count; ++i) {
      const std::string text = texts[i];
      const auto equals = text.find('=');
      values_[text.substr(0, equals)] = text.substr(equals + 1);
    }
  }
  double number(const std::string& key, double otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : std::stod(found->second);
  }
  std::int64_t integer(const std::string& key, std::int64_t otherwise) const {
    return static_cast<std::int64_t>(number(key, static_cast<double>(otherwise)));
  }
  bool flag(const std::string& key, bool otherwise) const { return number(key, otherwise ? 1 : 0) != 0; }

private:
  std::map<std::string, std::string> values_;
};

PipelineConfig pipeline_of(const Arguments& arguments) {
  PipelineConfig pipeline = regression_pipeline(arguments.integer("checkpoint-every", 5));
  pipeline.reproducible = arguments.flag("reproducible", false);
  pipeline.slices = arguments.integer("slices", 4);
  pipeline.shard_optimizer = arguments.flag("shard-optimizer", false);
  pipeline.overlap = arguments.flag("overlap", true);
  pipeline.bucket_size = arguments.number("bucket-size", 0.02);
  return pipeline;
}

void train_in(const std::filesystem::path& directory, const Arguments& arguments) {
  watch_signals();
  const auto ranks = make_communicator("cpu");
  const bool last = ranks->rank() == ranks->size() - 1;
  Network model;
  TrainingTask task = network_task(directory, model, arguments.integer("steps", 20));
  task.training.micro_batch = arguments.integer("micro-batch", 0);
  task.loss = [&, loss = task.loss, stop_at = arguments.integer("stop-at", -1)](const Batch& batch) {
    if (last && batch[2][0].item<std::int64_t>() / task.training.batch == stop_at) {
      ::kill(::getpid(), SIGUSR1);
      while (!stop_requested()) ::usleep(1000);
    }
    return loss(batch);
  };
  task.after_step = [&, kill_at = arguments.integer("kill-at", -1)](const Batch& batch) {
    if (last && batch[2][0].item<std::int64_t>() / task.training.batch == kill_at) ::raise(SIGKILL);
  };
  const TrainingResult result = train(task, model, pipeline_of(arguments), *ranks, at::kCPU);
  if (!ranks->is_root()) return;
  write_tensors(directory / "weights.safetensors", result.weights);
  for (const auto& ema : result.emas) write_tensors(directory / ema.file, ema.tensors);
}

}  // namespace
}  // namespace couplet

int main(int argc, char** argv) {
  using namespace couplet;
  if (argc < 2) return 2;
  try {
    train_in(argv[1], Arguments(argc, argv));
    return 0;
  } catch (const Interrupted& interrupted) {
    fmt::print(stderr, "{}\n", interrupted.what());
    return exit_interrupted;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    abort_all(1);
  }
}
