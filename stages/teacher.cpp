#include "stages/teacher.h"

#include "method/data/dataset.h"
#include "method/sampling/teacher_sampler.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/trainer.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "stages/trained/preview.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>

namespace couplet {
namespace {

/// {noised images [n, C, H, W], labels int64 [n] with -1 where dropped}: what the model sees of the rows at these
/// positions of the run; with dropout the positions themselves, int64 [n].
Batch teacher_batch(RowStream& rows, const BatchRange& range, const TeacherConfig& config, const Codec& codec,
                    std::uint64_t seed) {
  std::vector<at::Tensor> read = rows.read(range.first, range.rows, range.batch);
  at::Tensor images = read[0].clone();  // some are mirrored in place
  at::Tensor labels = read[1].to(at::kLong);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(range.rows));
  std::iota(positions.begin(), positions.end(), range.first);
  auto* label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < range.rows; ++i) {
    const auto position = static_cast<std::uint64_t>(range.first + i);
    if (config.flips && Draws(seed, Purpose::flip, position).uniform() < 0.5) images[i] = images[i].flip({2}).clone();
    if (Draws(seed, Purpose::label_drop, position).uniform() < config.label_drop) label[i] = -1;
  }
  Batch batch{noised_rows(images, codec, teacher_noise(config), seed, Purpose::teacher_noise, positions), labels};
  if (config.dropout > 0) batch.push_back(at::tensor(positions, at::kLong));
  return batch;
}

/// Mean negative log-likelihood of held-out images {image, label} under the model as it stands, in nats a value.
/// Collective.
double validate(TarFlow& model, const HeldOut& images, const Config& config, const Codec& codec,
                Communicator& communicator, at::Device device) {
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  return images.mean(1, communicator, [&](const HeldOut::Rows& rows) {
    const at::Tensor x = noised_rows(rows.columns[0], codec, teacher_noise(config.teacher), seed,
                                     Purpose::validation_noise, rows.numbers);
    const at::Tensor y = rows.columns[1].to(at::kLong);
    return model->negative_log_likelihood(model->forward(x.to(device), y.to(device))).unsqueeze(1);
  })[0];
}

nlohmann::json likelihood(double nats, const TeacherConfig& config) {
  nlohmann::json out = {{"nats_per_value", nats}, {"noise", config.noise}};
  if (config.noise == "uniform") {
    out["bits_per_dim"] = nats / std::numbers::ln2 + 7;  // a proper bound: the noise is one grey level wide
  } else {
    out["noise_std"] = config.noise_std;
    out["meaning"] = "likelihood of images with Gaussian noise on them; not comparable with bits/dim";
  }
  return out;
}

/// The model as training begins, on rank 0: the trainer gives the others its weights. Collective.
TarFlow new_teacher(const StageContext& context, const DatasetShape& shape) {
  const TeacherConfig& config = context.config.teacher;
  const TarFlowOptions options = teacher_options(config, shape);
  TarFlow model = make_tarflow(options, static_cast<std::uint64_t>(context.config.pipeline.seed));
  if (!config.init.empty()) {
    run_on_all(context.communicator, [&] {
      if (!context.communicator.is_root()) return;
      const WorkingAlone alone("reading " + config.init);
      load_tensors(*model, read_tensors(config.init), config.init, {"attn_mask"});
      require_finite_weights(*model, config.init);
    });
    say("weights start from {}", config.init);
  }
  model->to(context.device);
  say("{}", tarflow_text(options));
  return model;
}

}  // namespace

void teacher(StageContext& context) {
  const Config& config = context.config;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  const RowTable train_table =
      open_for_training(seen_rows(config, context.run, "train"), dataset_format, training_reads(config.storage));
  const RowTable test_table(seen_rows(config, context.run, "test"), dataset_format);
  const DatasetShape shape = dataset_shape(train_table);
  TarFlow model = new_teacher(context, shape);
  const TarFlowOptions& options = model->options();

  RowStream rows(train_table, {"image", "label"}, config.prepare.window_blocks, seed);
  at::Tensor mean_square;  // of z over the rows that the loss saw last, for the prior of vp
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.teacher.training;
  task.provenance = {
      {"stage", context.node.fingerprint},
      {"dataset", train_table.content_hash()},
      {"init", config.teacher.init.empty() ? "" : hash_for_all(context.communicator, config.teacher.init)}};
  task.batch = [&](const BatchRange& range) { return teacher_batch(rows, range, config.teacher, *shape.codec, seed); };
  task.loss = [&](const Batch& batch) {
    const TarFlowOutput output = model->forward(batch[0], batch[1], batch.size() > 2 ? batch[2] : at::Tensor());
    if (!options.nvp) mean_square = output.z.detach().to(at::kFloat).square().mean(0);
    return model->loss(output);
  };
  if (!options.nvp) {
    task.batch_mean = BatchMean{.of_rows = [&] { return mean_square; },
                                .use = [&](const at::Tensor& mean) { model->update_prior(mean.to(at::kFloat)); }};
  }
  const HeldOut held_out(test_table, {"image", "label"}, config.teacher.training.validate_rows);
  task.validate = [&] {
    return nlohmann::json{
        {"test_nats_per_value", validate(model, held_out, config, *shape.codec, context.communicator, context.device)}};
  };
  task.validate_every = config.teacher.training.validate_every;
  task.best_of = "test_nats_per_value";
  const TeacherSampling sampling{{}, teacher_noise(config.teacher), config.teacher.training.precision};
  DatasetShape without_condition = shape;
  without_condition.low_resolution = {};
  Previewer previewer(context, without_condition, config.teacher.preview, [&](const InitialNoise& initial) {
    return sample_teacher(model, initial.z, initial.condition, sampling).images();
  });
  previewer.give_to(task);
  task.flops_per_image = forward_passes_a_training_image * forward_flops(options);
  const TrainingResult result = train(task, *model, config.pipeline, context.communicator, context.device);

  load_tensors(*model, result.ema, "EMA weights");
  const HeldOut all_held_out(test_table, {"image", "label"}, 0);
  const double nats = validate(model, all_held_out, config, *shape.codec, context.communicator, context.device);
  if (!std::isfinite(nats)) fail("the likelihood of the test images under the trained teacher is {}", nats);
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the teacher");
  say("test images under the EMA weights: {:.4f} nats a value ({} noise)", nats, config.teacher.noise);
  const std::map<std::string, std::string> sizes = tarflow_sizes(options);
  publish_tensors(context.run.teacher_weights(), result.weights, sizes);
  for (const auto& ema : result.emas) publish_tensors(context.directory() / ema.file, ema.tensors, sizes);
  publish_file(context.directory() / "summary.json",
               nlohmann::json{{"test", likelihood(nats, config.teacher)},
                              {"parameters", parameter_count(*model)},
                              {"images", result.steps * config.teacher.training.batch},
                              {"steps", result.steps}}
                       .dump(2) +
                   "\n");
}

}  // namespace couplet
