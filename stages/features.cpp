#include "stages/features.h"

#include "method/data/dataset.h"
#include "method/data/images.h"
#include "method/metrics/frechet.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/trainer.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"
#include "storage/files/atomic_file.h"

#include <torch/nn/functional/loss.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <utility>

namespace couplet {
namespace {

/// Features of all images of a table: moments, and the share that is classified right.
struct TableFeatures {
  Moments moments;
  double accuracy = 0;
};

TableFeatures table_features(Classifier& classifier, const RowTable& table, const Codec& codec, std::int64_t dimension,
                             Communicator& communicator, torch::Device device) {
  const torch::NoGradGuard no_grad;
  TableFeatures out{Moments(dimension)};
  double right = 0;
  const auto make = [&](std::int64_t first) {
    const std::int64_t count = std::min(described_slice_rows, table.rows() - first);
    const at::Tensor features =
        classifier->features(to_float(codec.pixels(read_rows(table, "image", first, count))).to(device));
    const at::Tensor labels = read_rows(table, "label", first, count).to(torch::kInt64);
    const at::Tensor correct = classifier->logits(features).argmax(1).cpu().eq(labels);
    return torch::cat({features.to(torch::kCPU, torch::kFloat64), correct.to(torch::kFloat64).unsqueeze(1)}, 1);
  };
  const auto add = [&](const at::Tensor& values) {
    out.moments.add(values.narrow(1, 0, dimension));
    right += values.select(1, dimension).sum().item<double>();
  };
  for_each_slice(communicator,
                 {.rows = table.rows(),
                  .slice_rows = described_slice_rows,
                  .columns = dimension + 1,
                  .stopped = "reference statistics stopped; the classifier's last checkpoint is kept"},
                 make, add);
  out.accuracy = right / static_cast<double>(table.rows());
  return out;
}

/// Mean cross-entropy and share classified right of held-out rows {image, label}. Collective.
nlohmann::json validate(Classifier& classifier, const HeldOut& held_out, const Codec& codec, Communicator& communicator,
                        torch::Device device) {
  namespace F = torch::nn::functional;
  const std::vector<double> means = held_out.mean(2, communicator, [&](const HeldOut::Rows& rows) {
    const at::Tensor scores = classifier->forward(to_float(codec.pixels(rows.columns[0])).to(device));
    const at::Tensor labels = rows.columns[1].to(torch::kInt64).to(device);
    const at::Tensor losses = F::cross_entropy(scores, labels, F::CrossEntropyFuncOptions().reduction(torch::kNone));
    return torch::stack({losses, scores.argmax(1).eq(labels).to(losses.scalar_type())}, 1);
  });
  return {{"test_cross_entropy", means[0]}, {"test_accuracy", means[1]}};
}

/// What a classifier is trained on, and judged by.
struct ClassifierImages {
  explicit ClassifierImages(const StageContext& context)
      : train(open_for_training(context.run.train_images(), dataset_format, training_reads(context.config.storage))),
        test(context.run.test_images(), dataset_format),
        shape(dataset_shape(train)) {}

  RowTable train, test;
  DatasetShape shape;
};

/// Trains a classifier by [features], and leaves it with its averaged weights, which are returned. `seed` is that of
/// its initial weights and of the order of the images. Collective.
NamedTensors train_classifier(const StageContext& context, const ClassifierImages& images, Classifier& classifier,
                              std::uint64_t seed) {
  const Config& config = context.config;
  const Codec& codec = *images.shape.codec;
  classifier->to(context.device);
  RowStream rows(images.train, {"image", "label"}, config.prepare.window_blocks, seed);
  TrainingTask task;
  task.name = context.node.name;
  task.section = "features";
  task.directory = context.directory();
  task.training = config.features.training;
  task.provenance = {{"stage", context.node.fingerprint}, {"dataset", images.train.content_hash()}};
  task.batch = [&](const BatchRange& range) {
    std::vector<at::Tensor> read = rows.read(range.first, range.rows, range.batch);
    return Batch{to_float(codec.pixels(read[0])), read[1].to(torch::kInt64)};
  };
  task.loss = [&](const Batch& batch) {
    return torch::nn::functional::cross_entropy(classifier->forward(batch[0]), batch[1]);
  };
  const HeldOut held_out(images.test, {"image", "label"}, config.features.training.validate_rows);
  task.validate = [&] { return validate(classifier, held_out, codec, context.communicator, context.device); };
  task.validate_every = config.features.training.validate_every;
  task.best_of = "test_cross_entropy";
  task.flops_per_image = forward_passes_a_training_image * forward_flops(classifier->options());
  TrainingResult result = train(task, *classifier, config.pipeline, context.communicator, context.device);
  load_tensors(*classifier, result.ema, "EMA weights");
  classifier->eval();
  return std::move(result.ema);
}

void say_accuracy(const std::string& network, double accuracy) {
  say("{}: {:.2f} % of test images classified right", network, 100 * accuracy);
}

}  // namespace

void features(StageContext& context) {
  const Config& config = context.config;
  const ClassifierImages images(context);
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  Classifier classifier = make_classifier(classifier_options(config.features, images.shape), seed);
  const NamedTensors weights = train_classifier(context, images, classifier, seed);

  const auto described = [&](const RowTable& table) {
    return table_features(classifier, table, *images.shape.codec, config.features.dimension, context.communicator,
                          context.device);
  };
  const TableFeatures train_features = described(images.train), test_features = described(images.test);
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the classifier and its statistics");
  const std::string network = network_name(config);
  say_accuracy(network, test_features.accuracy);
  publish_tensors(context.run.classifier(), weights);
  save_moments(context.run.reference_statistics(), train_features.moments,
               {{"network", network}, {"split", "train"}, {"dataset", images.train.content_hash()}});
  save_moments(context.directory() / "statistics-test.safetensors", test_features.moments,
               {{"network", network}, {"split", "test"}, {"dataset", images.test.content_hash()}});
  publish_file(context.directory() / "summary.json", nlohmann::json{{"network", network},
                                                                    {"test_accuracy", test_features.accuracy},
                                                                    {"train_accuracy", train_features.accuracy},
                                                                    {"test_images", images.test.rows()}}
                                                             .dump(2) +
                                                         "\n");
}

void loss_features(StageContext& context) {
  const ClassifierImages images(context);
  const ClassifierOptions options = loss_classifier_options(context.config.features, images.shape);
  const std::uint64_t seed = loss_classifier_seed(context.config.pipeline.seed);
  Classifier classifier = make_classifier(options, seed);
  const NamedTensors weights = train_classifier(context, images, classifier, seed);
  const double accuracy = table_features(classifier, images.test, *images.shape.codec, options.dimension,
                                         context.communicator, context.device)
                              .accuracy;
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the classifier of the loss");
  const std::string network = loss_classifier_name(context.config);
  say_accuracy(network, accuracy);
  publish_tensors(context.run.loss_classifier(), weights);
  publish_file(
      context.directory() / "summary.json",
      nlohmann::json{{"network", network}, {"test_accuracy", accuracy}, {"test_images", images.test.rows()}}.dump(2) +
          "\n");
}

}  // namespace couplet
