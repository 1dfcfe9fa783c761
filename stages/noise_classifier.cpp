#include "stages/noise_classifier.h"

#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/models/noise_classifier.h"
#include "method/tables/coupling_table.h"
#include "method/tables/row_subset.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/training/trainer.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <torch/utils.h>

#include <memory>
#include <utility>
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

  // The held-out split is for the test alone: what is published is chosen by blocks of the training rows.
  const auto all = std::make_shared<TableRows>(table);
  BlockSplit split = hold_back_blocks(table, seed);
  const RowSubset held_back(all, std::move(split.held_out));
  RowStream rows(std::make_shared<RowSubset>(all, std::move(split.trained)), {"noise", "label"},
                 config.prepare.window_blocks, seed);
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
  const HeldOutRows validated(held_back.rows(), task.training.validate_rows);
  task.validate = [&] {
    const auto means = validated.mean(1, context.communicator, [&](const std::vector<std::int64_t>& chosen) {
      std::vector<std::int64_t> numbers, behind_all;
      for (const std::int64_t row : chosen) {
        numbers.push_back(held_back.number(row));
        behind_all.push_back(-1 - numbers.back());  // an index that no position of the training has
      }
      const at::Tensor fresh = normal_rows(sizes, seed, Purpose::classifier_noise, behind_all);
      const Batch batch = noise_batch(read_numbered_rows(table, "noise", numbers),
                                      read_numbered_rows(table, "label", numbers), sigma_f, fresh);
      return by_row_chunks(fresh.size(0), context.device, [&](std::int64_t first, std::int64_t count) {
        const auto some = [&](std::size_t i) { return batch[i].narrow(0, first, count).to(context.device); };
        return classifier->errors(some(0), some(1), some(2)).unsqueeze(1).cpu();
      });
    });
    return nlohmann::json{{"test_loss", means[0]}};
  };
  task.validate_every = task.training.validate_every;
  task.best_of = "test_loss";
  // A row of the table, and a fresh one.
  task.flops_per_image = 2 * forward_passes_a_training_image * forward_flops(classifier->options());
  const TrainingResult result = train(task, *classifier, config.pipeline, context.communicator, context.device);
  if (result.best.empty())
    fail(
        "{}: none of its weights has a finite loss on rows that are held back: raise noise-classifier.images, or lower "
        "noise-classifier.learning-rate",
        context.node.name);
  load_for_all(*classifier, weights_file(result.best, task.training.ema, task.training.ema.front()), context.device,
               context.communicator);
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the noise classifier");
  publish_tensors(context.run.noise_classifier(name), named_tensors(*classifier));
}

}  // namespace couplet
