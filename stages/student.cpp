#include "stages/student.h"

#include "method/couplings/coupling_table.h"
#include "method/data/noise.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/trainer.h"
#include "stages/trained/models.h"
#include "stages/trained/preview.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"

#include <torch/torch.h>

#include <cmath>
#include <numeric>

namespace couplet {
namespace {

constexpr std::int64_t preview_nfe = 4;

/// t = 1 / (1 + exp(-n)), n normal (arXiv 2603.09014): the time of a training row.
float logit_normal_time(const StudentConfig& config, std::uint64_t seed, Purpose purpose, std::int64_t index) {
  const double logit =
      config.time_mean + config.time_std * Draws(seed, purpose, static_cast<std::uint64_t>(index)).normal();
  return static_cast<float>(1.0 / (1.0 + std::exp(-logit)));
}

/// {image [n, C, H, W] on [-1, 1], z [n, C, H, W], t [n], label int64 [n]} of the rows at these positions of the run.
/// Rows, times and label drops depend on (seed, position) only; the coupling decides z alone.
Batch student_batch(RowStream& rows, const BatchRange& range, const StudentConfig& config, const std::string& coupling,
                    std::uint64_t seed, double sigma_f, const DatasetShape& shape) {
  const std::vector<at::Tensor> read = rows.read(range.first, range.rows);
  const at::Tensor image = shape.codec->encode(read[1]);
  at::Tensor z;
  if (coupling == "nf") {
    z = read[0].to(torch::kFloat32) / sigma_f;
  } else {
    std::vector<std::int64_t> positions(static_cast<std::size_t>(range.rows));
    std::iota(positions.begin(), positions.end(), range.first);
    z = normal_rows(image.sizes().slice(1).vec(), seed, Purpose::student_noise, positions);
  }
  at::Tensor times = torch::empty({range.rows}, torch::kFloat32), labels = read[2].to(torch::kInt64);
  auto* time = times.data_ptr<float>();
  auto* label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < range.rows; ++i) {
    const auto position = static_cast<std::uint64_t>(range.first + i);
    time[i] = logit_normal_time(config, seed, Purpose::time, range.first + i);
    if (Draws(seed, Purpose::label_drop, position).uniform() < config.label_drop) label[i] = shape.labels();
  }
  return {image, z, times, labels};
}

/// The flow-matching loss on held-out rows {noise, image, label} of the coupling table, at fixed times; an independent
/// student's from fixed noise. Collective.
double validate(SiT& model, const HeldOut& held_out, const StageContext& context, const Codec& codec, double sigma_f) {
  const StudentConfig& config = context.config.student;
  const auto seed = static_cast<std::uint64_t>(context.config.pipeline.seed);
  return held_out.mean(1, context.communicator, [&](const HeldOut::Rows& rows) {
    const at::Tensor image = codec.encode(rows.columns[1]);
    const at::Tensor z = context.node.coupling == "nf"
                             ? rows.columns[0].to(torch::kFloat32) / sigma_f
                             : normal_rows(image.sizes().slice(1).vec(), seed, Purpose::validation_start, rows.numbers);
    std::vector<float> times;
    for (const std::int64_t row : rows.numbers)
      times.push_back(logit_normal_time(config, seed, Purpose::validation_time, row));
    Batch batch{image, z, torch::tensor(times), rows.columns[2].to(torch::kInt64)};
    for (at::Tensor& tensor : batch) tensor = tensor.to(context.device);
    return flow_matching_errors(model, batch[0], batch[1], batch[2], batch[3]).unsqueeze(1);
  })[0];
}

/// Samples by a few Euler steps.
at::Tensor sample(SiT& model, const Starts& starts, const std::string& precision, torch::Device device) {
  const at::Tensor labels = starts.labels.to(device);
  const VelocityField velocity = [&](const at::Tensor& x, double t) {
    const Autocast autocast(precision, device);
    return model->forward(x, torch::full({x.size(0)}, t, x.options()), labels);
  };
  return solve(velocity, starts.z.to(device), Solver::euler, Grid::uniform, preview_nfe);
}

/// The table, the teacher and the data set of a run belong together.
void check_provenance(const RowTable& table, const RunDirectory& run) {
  const std::string teacher = hash_file(run.teacher_ema());
  const std::string made_with = table.provenance().at("teacher").get<std::string>();
  if (made_with != teacher) {
    fail("{} was made with teacher {}, but {} is {}: redo the couple stage (--redo couple)", table.path().string(),
         made_with, run.teacher_ema().string(), teacher);
  }
}

/// The model as training begins.
SiT new_student(const StageContext& context, const DatasetShape& shape, std::uint64_t seed) {
  const StudentConfig& config = context.config.student;
  const SiTOptions options = student_options(config, shape);
  SiT model = make_sit(options, seed);
  if (!config.init.empty()) {
    load_tensors(*model, import_sit(read_tensors(config.init)), config.init);
    say("weights start from {} (SiT's time and sign folded in)", config.init);
  }
  model->to(context.device);
  say("SiT {}, seed {}: depth {}, width {}, {} heads, {:.2f} M parameters", context.node.coupling, context.node.seed,
      options.depth, options.channels, options.heads, static_cast<double>(parameter_count(*model)) / 1e6);
  return model;
}

}  // namespace

void student(StageContext& context) {
  const Config& config = context.config;
  const std::string& coupling = context.node.coupling;
  const std::uint64_t seed = student_seed(config.pipeline.seed, context.node.seed);
  const RowTable table = open_for_training(context.run.coupling(), coupling_format, config.storage);
  check_provenance(table, context.run);
  const RowTable images(context.run.train_images(), "couplet-dataset");
  const DatasetShape shape = dataset_shape(images);
  const double sigma_f = table.summary().at("sigma_f").get<double>();
  SiT model = new_student(context, shape, seed);
  const SiTOptions& options = model->options();

  RowStream rows(table, {"noise", "image", "label"}, config.student.window_blocks, seed);
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.student.training;
  task.provenance = {{"stage", context.node.fingerprint},
                     {"table", table.content_hash()},
                     {"init", config.student.init.empty() ? "" : hash_file(config.student.init)}};
  task.batch = [&](const BatchRange& range) {
    return student_batch(rows, range, config.student, coupling, seed, sigma_f, shape);
  };
  task.loss = [&](const Batch& b) { return flow_matching_loss(model, b[0], b[1], b[2], b[3]); };
  const RowTable test_table(context.run.coupling_test(), coupling_format);
  const HeldOut held_out(test_table, {"noise", "image", "label"}, config.student.training.validate_rows);
  task.validate = [&] {
    return nlohmann::json{{"test_loss", validate(model, held_out, context, *shape.codec, sigma_f)}};
  };
  task.validate_every = config.student.training.validate_every;
  task.best_of = "test_loss";
  Previewer previewer(context, shape, config.student.preview);
  task.preview = [&] {
    return previewer.make(
        [&](const Starts& starts) { return sample(model, starts, config.student.training.precision, context.device); });
  };
  task.preview_every = config.student.preview.every;
  task.flops_per_image = forward_passes_a_training_image * forward_flops(options);
  const TrainingResult result = train(task, *model, config.pipeline, context.communicator, context.device);

  if (!context.communicator.is_root()) return;
  const Busy busy("publishing the student");
  const std::map<std::string, std::string> sizes = {{"in_channels", std::to_string(options.in_channels)},
                                                    {"input_size", std::to_string(options.image_size)},
                                                    {"patch_size", std::to_string(options.patch)},
                                                    {"hidden_size", std::to_string(options.channels)},
                                                    {"depth", std::to_string(options.depth)},
                                                    {"num_heads", std::to_string(options.heads)},
                                                    {"num_classes", std::to_string(options.num_classes)},
                                                    {"time", "couplet: 0 data, 1 noise, field to noise"}};
  publish_tensors(context.directory() / "weights.safetensors", result.weights, sizes);
  for (const auto& ema : result.emas) publish_tensors(context.directory() / ema.file, ema.tensors, sizes);
  publish_file(context.directory() / "summary.json",
               nlohmann::json{{"coupling", coupling},
                              {"seed", context.node.seed},
                              {"parameters", parameter_count(*model)},
                              {"images", result.steps * config.student.training.batch},
                              {"steps", result.steps}}
                       .dump(2) +
                   "\n");
}

}  // namespace couplet
