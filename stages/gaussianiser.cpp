#include "stages/gaussianiser.h"

#include "method/data/dataset.h"
#include "method/models/tarflow.h"
#include "method/tables/coupling_table.h"
#include "method/tables/row_subset.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/trainer.h"
#include "stages/couple/noise_map.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <memory>
#include <numbers>
#include <utility>

namespace couplet {
namespace {

/// A TarFlow begins with random biases; without them it maps nothing.
TarFlow identity_flow(const TarFlowOptions& options, std::uint64_t seed) {
  TarFlow flow = make_tarflow(options, seed);
  const at::NoGradGuard no_grad;
  for (TarFlowBlock& block : flow->blocks()) block->proj_out->bias.zero_();
  return flow;
}

/// The rows of a table that are held back from training.
class HeldBack {
public:
  HeldBack(const RowTable& table, RowSubset rows, double sigma)
      : table_(table), rows_(std::move(rows)), sigma_(sigma) {}

  std::int64_t rows() const { return rows_.rows(); }

  /// Mean negative log-likelihood of `count` of them (0: all), in nats a value. Collective.
  double nats(TarFlow& model, std::int64_t count, Communicator& communicator, at::Device device) const {
    return HeldOutRows(rows_.rows(), count).mean(1, communicator, [&](const std::vector<std::int64_t>& chosen) {
      std::vector<std::int64_t> numbers;
      for (const std::int64_t row : chosen) numbers.push_back(rows_.number(row));
      const at::Tensor z = read_numbered_rows(table_, "noise", numbers).to(at::kFloat) / sigma_;
      const at::Tensor labels = read_numbered_rows(table_, "label", numbers).to(at::kLong);
      return model->negative_log_likelihood(model->forward(z.to(device), labels.to(device))).unsqueeze(1);
    })[0];
  }

private:
  const RowTable& table_;
  RowSubset rows_;
  double sigma_;
};

}  // namespace

void gaussianiser(StageContext& context) {
  const Config& config = context.config;
  const GaussianiserConfig& own = config.gaussianiser;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  const RowTable table = open_for_training(table_directory(config, context.run, context.node.base, "train"),
                                           coupling_format, training_reads(config.storage));
  require_finite_noise(table);
  BlockSplit split = hold_back_blocks(table, seed);
  const double sigma = table.summary().at("sigma_f").get<double>();
  const DatasetShape shape = dataset_shape(RowTable(seen_rows(config, context.run, "train"), dataset_format));
  const TarFlowOptions options = gaussianiser_options(own, shape);
  TarFlow model = identity_flow(options, seed);
  model->to(context.device);
  say("{}, on the noise of {}", tarflow_text(options), table.path().string());

  const auto all = std::make_shared<TableRows>(table);
  const HeldBack held_back(table, RowSubset(all, std::move(split.held_out)), sigma);
  RowStream rows(std::make_shared<RowSubset>(all, std::move(split.trained)), {"noise", "label"}, own.window_blocks,
                 seed);
  const double identity = held_back.nats(model, 0, context.communicator, context.device);

  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = own.training;
  task.provenance = {{"stage", context.node.fingerprint}, {"table", table.content_hash()}};
  task.batch = [&](const BatchRange& range) {
    const std::vector<at::Tensor> read = rows.read(range.first, range.rows, range.batch);
    return Batch{read[0].to(at::kFloat) / sigma, read[1].to(at::kLong)};
  };
  task.loss = [&](const Batch& batch) { return model->loss(model->forward(batch[0], batch[1])); };
  task.validate = [&] {
    return nlohmann::json{{"held_back_nats_per_value",
                           held_back.nats(model, own.training.validate_rows, context.communicator, context.device)}};
  };
  task.validate_every = own.training.validate_every;
  task.best_of = "held_back_nats_per_value";
  task.flops_per_image = forward_passes_a_training_image * forward_flops(options);
  const TrainingResult result = train(task, *model, config.pipeline, context.communicator, context.device);

  double nats = identity;
  if (!result.best.empty()) {
    load_for_all(*model, weights_file(result.best, own.training.ema, own.training.ema.front()), context.device,
                 context.communicator);
    model->eval();
    nats = held_back.nats(model, 0, context.communicator, context.device);
  }
  const bool gains = nats < identity;  // false of NaN
  if (!gains) model = identity_flow(options, seed);
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the second flow");
  const double closed = gains ? (identity - nats) * static_cast<double>(options.tokens() * options.token_size()) : 0;
  if (gains)
    say("the flow of {} closes {:.3f} nats a row of {} that were held back", result.best.filename().string(), closed,
        held_back.rows());
  else
    say("no flow is better than the noise as it is on {} rows that were held back: the identity is published",
        held_back.rows());
  publish_tensors(context.run.gaussianiser_weights(context.node.base), named_tensors(*model), tarflow_sizes(options));
  publish_file(context.directory() / "summary.json",
               nlohmann::json{{"held_back",
                               {{"rows", held_back.rows()},
                                {"nats_per_value", gains ? nats : identity},
                                {"identity_nats_per_value", identity},
                                {"nats_closed", closed}}},
                              {"checkpoint", gains ? result.best.filename().string() : ""},
                              {"parameters", parameter_count(options)},
                              {"rows", result.steps * own.training.batch},
                              {"steps", result.steps}}
                       .dump(2) +
                   "\n");
}

}  // namespace couplet
