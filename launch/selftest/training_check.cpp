#include "launch/selftest/checks.h"
#include "launch/selftest/stored_losses.h"

#include "method/models/field.h"
#include "method/models/tarflow.h"
#include "method/objectives/objective.h"
#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/config/options.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/random.h"
#include "pipeline/training/trainer.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>
#include <sstream>

namespace couplet {
namespace {

constexpr std::int64_t steps = 10, checkpoint_step = 5;
constexpr std::int64_t different_rows = 48, side = 8, classes = 4;
constexpr std::uint64_t seed = 0;

/// A model and what it is trained by.
struct SmallTraining {
  std::shared_ptr<torch::nn::Module> model;
  TrainingTask task;
};

std::string name_of(SmallModel model) {
  return model == SmallModel::student ? "student" : "teacher";
}

/// Matrices are drawn from (seed, number), biases are 0 and scales stay 1: LibTorch's own draws depend on its version.
void draw_weights(torch::nn::Module& model) {
  const at::NoGradGuard no_grad;
  std::uint64_t number = 0;
  for (const auto& parameter : model.named_parameters()) {
    at::Tensor into = parameter.value();
    at::Tensor drawn = at::empty(into.sizes(), at::kFloat);
    fill_normal({drawn.mutable_data_ptr<float>(), static_cast<std::size_t>(drawn.numel())}, seed,
                Purpose::initial_weights, number++);
    if (parameter.key().ends_with("bias")) into.zero_();
    if (into.dim() > 1) into.copy_(drawn.mul_(0.5 / std::sqrt(static_cast<double>(into.size(-1)))));
  }
}

/// {image, noise [n, 1, 8, 8], t [n], label [n]} of these rows. A step has 48 different rows; a batch of more has each
/// of them equally often, so that any number of ranks can share it and its mean loss is the same.
Batch made_up_rows(const BatchRange& range, const Objective& objective) {
  at::Tensor image = at::empty({range.rows, 1, side, side}, at::kFloat), noise = at::empty_like(image);
  at::Tensor t = at::empty({range.rows}, at::kFloat), label = at::empty({range.rows}, at::kLong);
  constexpr std::size_t values = side * side;
  for (std::int64_t row = 0; row < range.rows; ++row) {
    const std::int64_t in_batch = (range.first - range.step * range.batch + row) % different_rows;
    const auto index = static_cast<std::uint64_t>(range.step * different_rows + in_batch);
    const auto at = static_cast<std::size_t>(row) * values;
    fill_normal({image.mutable_data_ptr<float>() + at, values}, seed, Purpose::teacher_noise, index);
    fill_normal({noise.mutable_data_ptr<float>() + at, values}, seed, Purpose::student_noise, index);
    Draws draws(seed, Purpose::time, index);
    t[row] = objective.draw_time(draws);
    label[row] = static_cast<std::int64_t>(index) % classes;
  }
  const at::Tensor mean = (label.to(at::kFloat) - 1.5).mul_(0.4).view({-1, 1, 1, 1});
  return {image.mul_(0.3).add_(mean), noise, t, label};
}

SmallTraining small_student(const std::shared_ptr<const Objective>& objective) {
  FieldOptions options;
  options.image_channels = 1;
  options.image_size = side;
  options.num_classes = classes;
  options.patch = 2;
  options.channels = 32;
  options.depth = 2;
  options.heads = 2;
  const std::shared_ptr<Field> field = find_field("sit").make(options, seed);
  SmallTraining training{field, {}};
  training.task.loss = [field, objective](const Batch& batch) {
    return objective->loss(*field, batch[0], batch[1], batch[2], Condition{batch[3], {}});
  };
  return training;
}

SmallTraining small_teacher() {
  TarFlowOptions options;
  options.image_size = side;
  options.patch = 2;
  options.channels = 32;
  options.blocks = 2;
  options.layers = {1};
  options.head_size = 16;
  options.num_classes = classes;
  TarFlow flow = make_tarflow(options, seed);
  SmallTraining training{flow.ptr(), {}};
  training.task.loss = [flow](const Batch& batch) mutable { return flow->loss(flow->forward(batch[0], batch[3])); };
  return training;
}

SmallTraining small_training(SmallModel model, int ranks, const std::filesystem::path& directory) {
  const auto objective = make_objective("velocity", find_path("linear").make({}), {});
  SmallTraining training = model == SmallModel::student ? small_student(objective) : small_teacher();
  draw_weights(*training.model);
  TrainingTask& task = training.task;
  task.name = name_of(model);
  task.directory = directory / task.name;
  const std::int64_t batch = std::lcm(different_rows, std::int64_t{ranks});
  task.training = {.images = steps * batch,
                   .batch = batch,
                   .learning_rate = 1e-3,
                   .final_learning_rate = 1e-3,
                   .warmup = 2,
                   .weight_decay = 0.01,
                   .clip = 1,
                   .ema = {0.9},
                   .precision = "float32"};
  task.provenance = {{"selftest", task.name}};
  task.batch = [objective](const BatchRange& range) { return made_up_rows(range, *objective); };
  return training;
}

PipelineConfig small_pipeline(std::int64_t checkpoint_every) {
  PipelineConfig pipeline = default_config().pipeline;
  pipeline.checkpoint_every = checkpoint_every;
  pipeline.log_every = 3600;
  return pipeline;
}

TrainingResult train_small(SmallTraining& training, Communicator& communicator, c10::Device device,
                           std::int64_t checkpoint_every = checkpoint_step) {
  if (communicator.is_root()) std::filesystem::create_directories(training.task.directory);
  return train(training.task, *training.model, small_pipeline(checkpoint_every), communicator, device);
}

/// The loss of each step, as training has recorded it.
std::vector<double> recorded_losses(const std::filesystem::path& directory) {
  std::istringstream lines(read_file(directory / "metrics.jsonl"));
  std::vector<double> losses;
  for (std::string line; std::getline(lines, line);)
    losses.push_back(nlohmann::json::parse(line).at("loss").get<double>());
  return losses;
}

/// What is wrong with the losses of a training, and by how much they differ; on rank 0.
struct Judgement {
  std::string wrong;
  double difference = 0;
};
Judgement train_and_judge(SmallModel model, Communicator& communicator, c10::Device device,
                          const std::filesystem::path& directory, std::int64_t checkpoint_every = checkpoint_step) {
  SmallTraining training = small_training(model, communicator.size(), directory);
  train_small(training, communicator, device, checkpoint_every);
  if (!communicator.is_root()) return {};
  const std::vector<double> found = recorded_losses(training.task.directory);
  const auto& stored = model == SmallModel::student ? student_losses : teacher_losses;
  return {loss_difference(found, stored), largest_difference(found, stored)};
}

double largest_weight_difference(const NamedTensors& a, const NamedTensors& b) {
  double largest = 0;
  for (const auto& [name, tensor] : a) {
    const at::Tensor& other = b.at(name);
    if (tensor.numel() > 0)
      largest = std::max(largest, (tensor.to(at::kDouble) - other.to(at::kDouble)).abs().max().item<double>());
  }
  return largest;
}

}  // namespace

Outcome check_training(SmallModel model, Communicator& communicator, c10::Device device,
                       const std::filesystem::path& scratch) {
  const auto start = std::chrono::steady_clock::now();
  Judgement alone;
  if (communicator.size() > 1) {
    // Thousands of ranks leave no checkpoints, and each removes its own files.
    const auto own = make_single_communicator();
    const std::filesystem::path directory = scratch / fmt::format("rank-{:05}", communicator.rank());
    try {
      alone = train_and_judge(model, *own, device, directory, 0);
    } catch (const Interrupted&) {
      // The ranks stop together, in what follows.
    }
    std::filesystem::remove_all(directory);
  }
  const Judgement together = train_and_judge(model, communicator, device, scratch / "all");
  const auto largest = communicator.all_gather(at::full({1}, std::max(alone.difference, together.difference))).max();
  if (!alone.wrong.empty()) return failed("trained by this rank alone, {}", alone.wrong);
  if (!together.wrong.empty())
    return failed("trained by {}, {}",
                  communicator.size() == 1 ? "one rank" : fmt::format("all {} ranks together", communicator.size()),
                  together.wrong);
  return passed(
      "{} steps on {}: losses differ from the stored ones by {:.1g}, {:.0e} is allowed; {:.2f} s", steps,
      communicator.size() == 1 ? "one rank" : fmt::format("each rank alone and on all {}", communicator.size()),
      largest.item<float>(), loss_tolerance, seconds_since(start));
}

Outcome check_checkpoint(SmallModel model, Communicator& communicator, c10::Device device,
                         const std::filesystem::path& scratch) {
  SmallTraining whole = small_training(model, communicator.size(), scratch / "again");
  SmallTraining resumed = small_training(model, communicator.size(), scratch / "all");
  {
    CheckpointStore store(resumed.task.directory / "checkpoints", 2, resumed.task.provenance, communicator);
    const auto newest = store.load_newest();
    if (!newest || newest->step != checkpoint_step)
      return failed("{}: expected a checkpoint of step {}, found {}", (resumed.task.directory / "checkpoints").string(),
                    checkpoint_step, newest ? fmt::format("one of step {}", newest->step) : "none");
  }
  {
    const at::NoGradGuard no_grad;  // what it ends with can come of the checkpoint alone
    for (at::Tensor& parameter : resumed.model->parameters()) parameter.zero_();
  }
  const TrainingResult expected = train_small(whole, communicator, device);
  const TrainingResult found = train_small(resumed, communicator, device);
  if (!communicator.is_root()) return passed("");
  const double difference = largest_weight_difference(found.weights, expected.weights);
  // On a GPU sums may be formed in another order each time.
  const double allowed = device.is_cpu() ? 0 : 1e-4;
  if (!(difference <= allowed))
    return failed(
        "{}: training that went on from step {} ends with weights that differ by {:.3g} from those of training "
        "that was never stopped; {} is allowed",
        resumed.task.directory.string(), checkpoint_step, difference, allowed);
  return passed("read back after step {} of {}: the same {} in the end", checkpoint_step, steps,
                difference == 0 ? "bits" : fmt::format("weights within {:.1g}", difference));
}

}  // namespace couplet
