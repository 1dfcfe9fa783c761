#include "stages/teacher/teacher.h"

#include "pipeline/activity.h"
#include "pipeline/autocast.h"
#include "pipeline/log.h"
#include "pipeline/row_stream.h"
#include "pipeline/trainer.h"
#include "stages/teacher/model.h"
#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/hash.h"

#include <torch/torch.h>

#include <cmath>
#include <numbers>
#include <numeric>

namespace couplet {
namespace {

constexpr std::int64_t validation_slice = 250;

/// {noised images [n, C, H, W], labels int64 [n] with -1 where dropped}: what the model sees of the rows at these
/// positions of the run.
Batch teacher_batch(RowStream& rows, const BatchRange& range, const TeacherConfig& config, std::uint64_t seed) {
  std::vector<at::Tensor> read = rows.read(range.first, range.rows);
  at::Tensor images = read[0].clone();  // some are mirrored in place
  at::Tensor labels = read[1].to(torch::kInt64);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(range.rows));
  std::iota(positions.begin(), positions.end(), range.first);
  auto* label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < range.rows; ++i) {
    const auto position = static_cast<std::uint64_t>(range.first + i);
    if (config.flips && Draws(seed, Purpose::flip, position).uniform() < 0.5) images[i] = images[i].flip({2}).clone();
    if (Draws(seed, Purpose::label_drop, position).uniform() < config.label_drop) label[i] = -1;
  }
  return {noised_rows(images, teacher_noise(config), seed, Purpose::teacher_noise, positions), labels};
}

/// Mean negative log-likelihood of the test images under the model as it stands, in nats a value. Slices are dealt out
/// to ranks and added in their own order, so the figure is the same on any number of ranks.
double validate(TarFlow& model, const RowTable& test, const Config& config, Communicator& communicator,
                torch::Device device) {
  const torch::NoGradGuard no_grad;
  const std::int64_t slices = (test.rows() + validation_slice - 1) / validation_slice;
  at::Tensor sums = torch::zeros({slices}, torch::kFloat64);
  for (std::int64_t slice = communicator.rank(); slice < slices; slice += communicator.size()) {
    const std::int64_t first = slice * validation_slice, count = std::min(validation_slice, test.rows() - first);
    std::vector<std::int64_t> indices(static_cast<std::size_t>(count));
    std::iota(indices.begin(), indices.end(), first);
    const at::Tensor x =
        noised_rows(read_rows(test, "image", first, count), teacher_noise(config.teacher),
                    static_cast<std::uint64_t>(config.pipeline.seed), Purpose::validation_noise, indices);
    const at::Tensor y = read_rows(test, "label", first, count).to(torch::kInt64);
    const at::Tensor nll = model->negative_log_likelihood(model->forward(x.to(device), y.to(device)));
    sums[slice] = nll.to(torch::kFloat64).sum().cpu();
  }
  communicator.all_reduce(sums);
  return sums.sum().item<double>() / static_cast<double>(test.rows());
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

}  // namespace

void teacher(StageContext& context) {
  const Config& config = context.config;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  const RowTable train_table = open_for_training(context.run.train_images(), "couplet-dataset", config.storage);
  const RowTable test_table(context.run.test_images(), "couplet-dataset");
  const DatasetShape shape = dataset_shape(train_table);
  const TarFlowOptions options = teacher_options(config.teacher, shape);
  TarFlow model = make_tarflow(options, seed);
  if (!config.teacher.init.empty()) {
    load_tensors(*model, read_tensors(config.teacher.init), config.teacher.init, {"attn_mask"});
    say("weights start from {}", config.teacher.init);
  }
  model->to(context.device);
  say("TarFlow {}: {} blocks of {} layers, width {}, {} tokens of {} values, {:.2f} M parameters",
      config.teacher.variant, options.blocks, options.layers, options.channels, options.tokens(), options.token_size(),
      static_cast<double>(parameter_count(*model)) / 1e6);

  RowStream rows(train_table, {"image", "label"}, config.prepare.window_blocks, seed);
  at::Tensor mean_square;  // of z over the rows that the loss saw last, for the prior of vp
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.teacher.training;
  task.provenance = {{"stage", context.fingerprint},
                     {"dataset", train_table.content_hash()},
                     {"init", config.teacher.init.empty() ? "" : hash_file(config.teacher.init)}};
  task.batch = [&](const BatchRange& range) { return teacher_batch(rows, range, config.teacher, seed); };
  task.loss = [&](const Batch& batch) {
    const TarFlowOutput output = model->forward(batch[0], batch[1]);
    if (!options.nvp) mean_square = output.z.detach().to(torch::kFloat32).square().mean(0);
    return model->loss(output);
  };
  if (!options.nvp) {
    task.batch_mean = BatchMean{.of_rows = [&] { return mean_square; },
                                .use = [&](const at::Tensor& mean) { model->update_prior(mean.to(torch::kFloat32)); }};
  }
  task.validate = [&] {
    return nlohmann::json{
        {"test_nats_per_value", validate(model, test_table, config, context.communicator, context.device)}};
  };
  task.validate_every = config.teacher.validate_every;
  task.best_of = "test_nats_per_value";
  const TrainingResult result = train(task, *model, config.pipeline, context.communicator, context.device);

  load_tensors(*model, result.ema, "EMA weights");
  const double nats = validate(model, test_table, config, context.communicator, context.device);
  if (!std::isfinite(nats)) fail("the likelihood of the test images under the trained teacher is {}", nats);
  if (!context.communicator.is_root()) return;
  const Busy busy("publishing the teacher");
  say("test images under the EMA weights: {:.4f} nats a value ({} noise)", nats, config.teacher.noise);
  const std::map<std::string, std::string> sizes = {
      {"in_channels", std::to_string(options.in_channels)}, {"img_size", std::to_string(options.image_size)},
      {"patch_size", std::to_string(options.patch)},        {"channels", std::to_string(options.channels)},
      {"num_blocks", std::to_string(options.blocks)},       {"layers_per_block", std::to_string(options.layers)},
      {"num_classes", std::to_string(options.num_classes)}, {"variant", config.teacher.variant}};
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
