#include "stages/noise_classifier.h"

#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/models/noise_classifier.h"
#include "method/tables/coupling_table.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/training/trainer.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"

#include <ATen/ATen.h>
#include <torch/utils.h>

#include <optional>
#include <vector>

namespace couplet {
namespace {

/// {z, fresh noise, label} of rows of a table; a row that is not finite is fresh noise on both sides.
Batch noise_batch(const at::Tensor& stored, const at::Tensor& label, double sigma_f, const at::Tensor& fresh) {
  const at::Tensor z = stored.to(at::kFloat) / sigma_f;
  const at::Tensor finite = z.flatten(1).isfinite().all(1).view({-1, 1, 1, 1});
  return {at::where(finite, z, fresh), fresh, label.to(at::kLong)};
}

}  // namespace

void noise_classifier(StageContext& context) {
  const Config& config = context.config;
  const std::string& name = context.node.measured;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  const DatasetShape shape = dataset_shape(RowTable(seen_rows(config, context.run, "train"), dataset_format));
  const std::vector<std::int64_t> sizes{shape.channels, shape.size, shape.size};
  const RowTable table = open_for_training(table_directory(config, context.run, name, "train"), coupling_format,
                                           training_reads(config.storage));
  const auto sigma_f = table.summary().at("sigma_f").get<double>();
  NoiseClassifier classifier = make_noise_classifier(noise_classifier_options(config.noise_classifier, shape), seed);
  classifier->to(context.device);

  RowStream rows(table, {"noise", "label"}, config.prepare.window_blocks, seed);
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.noise_classifier.training;
  task.provenance = {{"stage", context.node.fingerprint}, {"table", table.content_hash()}};
  task.batch = [&](const BatchRange& range) {
    const std::vector<at::Tensor> read = rows.read(range.first, range.rows, range.batch);
    return noise_batch(read[0], read[1], sigma_f,
                       normal_rows(sizes, seed, Purpose::classifier_noise, range.positions()));
  };
  task.loss = [&](const Batch& batch) { return classifier->errors(batch[0], batch[1], batch[2]).mean(); };
  std::optional<RowTable> test;
  std::optional<HeldOut> held_out;
  if (const auto directory = table_directory(config, context.run, name, "test"); !directory.empty()) {
    test.emplace(directory, coupling_format);
    held_out.emplace(*test, std::vector<std::string>{"noise", "label"}, task.training.validate_rows);
    task.validate = [&] {
      const auto means = held_out->mean(1, context.communicator, [&](const HeldOut::Rows& there) {
        const at::Tensor fresh = normal_rows(sizes, seed, Purpose::classifier_test, there.numbers);
        const Batch batch = noise_batch(there.columns[0], there.columns[1], sigma_f, fresh);
        return by_row_chunks(fresh.size(0), context.device, [&](std::int64_t first, std::int64_t count) {
          const auto some = [&](std::size_t i) { return batch[i].narrow(0, first, count).to(context.device); };
          return classifier->errors(some(0), some(1), some(2)).unsqueeze(1).cpu();
        });
      });
      return nlohmann::json{{"test_loss", means[0]}};
    };
    task.validate_every = task.training.validate_every;
    task.best_of = "test_loss";
  }
  // A row of the table, and a fresh one.
  task.flops_per_image = 2 * forward_passes_a_training_image * forward_flops(classifier->options());
  const TrainingResult result = train(task, *classifier, config.pipeline, context.communicator, context.device);
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the noise classifier");
  publish_tensors(context.run.noise_classifier(name), result.ema);
}

}  // namespace couplet
