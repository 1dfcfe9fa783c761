// parity_training teacher|student STEPS CONFIG DIRECTORY: trains a preset's model by the project's own `train`, in
// float32, and leaves what another program needs to do the same in DIRECTORY: settings.json, weights.safetensors (the
// first ones), batches.safetensors (what the model was handed: tensor k of every step's batch, stacked, as "k") and
// metrics.jsonl, with the losses.
#include "bench/synthetic_training.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/optimizer/schedule.h"
#include "pipeline/training/trainer.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <filesystem>

namespace couplet {
namespace {

Config parity_config(const std::string& stage, const std::string& file, std::int64_t steps) {
  const auto batch = value_text(resolve_config(file, {}), stage + ".batch");
  const auto key = [&](const char* name, const std::string& value) {
    return Setting{stage + "." + name, value, "parity"};
  };
  // A short run sees warm-up and cosine. The teacher's images get noise enough that its losses do not jump about: a
  // jump multiplies the last bits of anything by a thousand.
  std::vector<Setting> settings{key("precision", "float32"), key("images", std::to_string(steps * std::stoll(batch))),
                                key("warmup", "20"), key("weight-decay", "0.01")};
  if (stage == "teacher") settings.insert(settings.end(), {key("noise-std", "0.3"), key("learning-rate", "1e-3")});
  return resolve_config(file, settings);
}

nlohmann::json settings(const std::string& stage, const Config& config, const TrainingConfig& training) {
  nlohmann::json all{{"stage", stage},
                     {"steps", training_steps(training)},
                     {"learning_rate", training.learning_rate},
                     {"final_learning_rate", training.final_learning_rate},
                     {"warmup", training.warmup},
                     {"weight_decay", training.weight_decay},
                     {"clip", training.clip}};
  if (stage == "teacher") {
    const TeacherConfig& t = config.teacher;
    all["sizes"] = {
        {"patch_size", t.patch}, {"channels", t.channels}, {"num_blocks", t.blocks}, {"layers_per_block", t.layers.front()}};
  } else {
    const StudentConfig& s = config.student;
    all["sizes"] = {{"patch_size", s.patch}, {"hidden_size", s.channels}, {"depth", s.depth}, {"num_heads", s.heads}};
  }
  return all;
}

NamedTensors stacked(const std::vector<Batch>& batches) {
  NamedTensors all;
  for (std::size_t k = 0; k < batches.front().size(); ++k) {
    std::vector<at::Tensor> steps;
    for (const Batch& batch : batches) steps.push_back(batch[k]);
    all[std::to_string(k)] = at::stack(steps);
  }
  return all;
}

void run(const std::string& stage, std::int64_t steps, const std::string& file,
         const std::filesystem::path& directory) {
  const Config config = parity_config(stage, file, steps);
  SyntheticTraining training = synthetic_training(stage, config, synthetic_rows(512), directory);
  std::vector<Batch> batches;
  training.task.batch = [&, make = training.task.batch](const BatchRange& range) {
    Batch batch = make(range);
    // Fewer rows are what the memory plan measures with.
    if (range.rows == training.task.training.batch) batches.push_back(batch);
    return batch;
  };
  std::filesystem::create_directories(directory);
  publish_file(directory / "settings.json", settings(stage, config, training.task.training).dump(2) + "\n");
  publish_tensors(directory / "weights.safetensors", named_tensors(*training.model));
  const auto communicator = make_single_communicator();
  train(training.task, *training.model, config.pipeline, *communicator, at::kCPU);
  publish_tensors(directory / "batches.safetensors", stacked(batches));
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  if (count != 5) return exit_usage;
  try {
    run(words[1], std::stoll(words[2]), words[3], words[4]);
    return exit_ok;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return exit_failed;
  }
}
