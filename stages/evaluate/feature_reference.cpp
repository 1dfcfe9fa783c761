#include "stages/evaluate/feature_reference.h"

#include "pipeline/activity.h"
#include "pipeline/log.h"
#include "stages/evaluate/reference_statistics.h"
#include "stages/features/model.h"
#include "stages/images.h"
#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/hash.h"

#include <algorithm>
#include <utility>

namespace couplet {
namespace {

void require_samples(const EvaluateConfig& config, const std::string& network, std::int64_t dimension,
                     const RowTable& test) {
  if (std::min(config.samples, test.rows()) > dimension) return;
  refuse(
      "evaluate.network = {}: {} features, so that a Fréchet distance needs at least {} samples; evaluate.samples = "
      "{}, "
      "held-out images: {}",
      network, dimension, dimension + 1, config.samples, test.rows());
}

/// The statistics of the training images, made unless an earlier evaluation of the run left them.
ReferenceStatistics training_statistics(StageContext& context, FeatureNetwork& network, const RowTable& train) {
  const fs::path path = context.run.network_statistics(hash_text(network.hash() + train.content_hash()));
  Communicator& communicator = context.communicator;
  if (communicator.maximum(communicator.is_root() && fs::exists(path) ? 1 : 0) > 0) return load_reference(path);
  say("statistics of {} training images by {} are made", train.rows(), network.name());
  ReferenceStatistics made = make_reference(
      network, train, "train", "evaluation stopped; the reference statistics are made again", communicator);
  if (communicator.is_root()) {
    const Busy busy("publishing the reference statistics");
    fs::create_directories(path.parent_path());
    save_reference(path, made);
  }
  communicator.barrier();
  return made;
}

}  // namespace

FeatureReference run_reference(StageContext& context, const RowTable& train, const RowTable& test) {
  const EvaluateConfig& config = context.config.evaluate;
  const DatasetShape shape = dataset_shape(train);
  if (config.network.empty()) {
    Classifier classifier = load_classifier(context.run, context.config.features, shape, context.device);
    return {make_feature_network(std::move(classifier), network_name(context.config), context.device),
            load_moments(context.run.reference_statistics())};
  }
  std::shared_ptr<FeatureNetwork> network = make_feature_network({config.network, config.network_args}, context.device);
  const std::int64_t dimension = network->describe(read_rows(train, "image", 0, 1)).features.size(1);
  require_samples(config, config.network, dimension, test);
  if (config.reference.empty()) return {network, training_statistics(context, *network, train).moments};
  ReferenceStatistics reference = load_reference(config.reference);
  for (const std::string& doubt :
       check_reference(config.reference, reference, *network, dimension, shape.channels, shape.size))
    if (context.communicator.is_root()) warn_line(doubt);
  return {network, std::move(reference.moments)};
}

}  // namespace couplet
