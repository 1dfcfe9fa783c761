#include "stages/student/student.h"

#include "pipeline/log.h"
#include "pipeline/row_stream.h"
#include "pipeline/trainer.h"
#include "stages/couple/coupling_table.h"
#include "stages/student/model.h"
#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/hash.h"

#include <torch/torch.h>

#include <cmath>
#include <numeric>

namespace couplet {
namespace {

/// {image [n, C, H, W] on [-1, 1], z [n, C, H, W], t [n], label int64 [n]} of the rows at these positions of the run.
/// Rows, times and label drops depend on (seed, position) only; the coupling decides z alone.
Batch student_batch(RowStream& rows, const BatchRange& range, const StudentConfig& config, const std::string& coupling,
                    std::uint64_t seed, double sigma_f, std::int64_t classes) {
  const std::vector<at::Tensor> read = rows.read(range.first, range.rows);
  const at::Tensor image = to_float(read[1]);
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
    const double logit = config.time_mean + config.time_std * Draws(seed, Purpose::time, position).normal();
    time[i] = static_cast<float>(1.0 / (1.0 + std::exp(-logit)));
    if (Draws(seed, Purpose::label_drop, position).uniform() < config.label_drop) label[i] = classes;
  }
  return {image, z, times, labels};
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

}  // namespace

void student(StageContext& context) {
  const Config& config = context.config;
  const std::string& coupling = context.node.coupling;
  const std::uint64_t seed = student_seed(config.pipeline.seed, context.node.seed);
  const RowTable table(context.run.coupling(), coupling_format, training_reads(config.storage));
  check_provenance(table, context.run);
  const RowTable images(context.run.train_images(), "couplet-dataset");
  const DatasetShape shape = dataset_shape(images);
  const double sigma_f = table.summary().at("sigma_f").get<double>();
  const SiTOptions options = student_options(config.student, shape);
  SiT model = make_sit(options, seed);
  if (!config.student.init.empty()) {
    load_tensors(*model, import_sit(read_tensors(config.student.init)), config.student.init);
    say("weights start from {} (SiT's time and sign folded in)", config.student.init);
  }
  model->to(context.device);
  say("SiT {}, seed {}: depth {}, width {}, {} heads, {:.2f} M parameters, {} rows in the table", coupling,
      context.node.seed, options.depth, options.channels, options.heads,
      static_cast<double>(parameter_count(*model)) / 1e6, table.rows());

  RowStream rows(table, {"noise", "image", "label"}, config.student.window_blocks, seed);
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.student.training;
  task.provenance = {{"stage", context.fingerprint},
                     {"table", table.content_hash()},
                     {"init", config.student.init.empty() ? "" : hash_file(config.student.init)}};
  task.batch = [&](const BatchRange& range) {
    return student_batch(rows, range, config.student, coupling, seed, sigma_f, shape.classes);
  };
  task.loss = [&](const Batch& b) { return flow_matching_loss(model, b[0], b[1], b[2], b[3]); };
  const TrainingResult result = train(task, *model, config.pipeline, context.communicator, context.device);

  if (!context.communicator.is_root()) return;
  const std::map<std::string, std::string> sizes = {{"in_channels", std::to_string(options.in_channels)},
                                                    {"input_size", std::to_string(options.image_size)},
                                                    {"patch_size", std::to_string(options.patch)},
                                                    {"hidden_size", std::to_string(options.channels)},
                                                    {"depth", std::to_string(options.depth)},
                                                    {"num_heads", std::to_string(options.heads)},
                                                    {"num_classes", std::to_string(options.num_classes)},
                                                    {"time", "couplet: 0 data, 1 noise, field to noise"}};
  publish_tensors(context.directory() / "weights.safetensors", result.weights, sizes);
  publish_tensors(context.directory() / "ema.safetensors", result.ema, sizes);
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
