#include "stages/evaluate/run_reference.h"

#include "method/data/dataset.h"
#include "method/data/image_set.h"
#include "method/features/open_network.h"
#include "method/scoring/reference_statistics.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "stages/data/run_source.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr const char* reference_stopped = "evaluation stopped; what the training images are described by is made again";

/// True if an earlier evaluation of the run left the file. Collective.
bool was_left(const fs::path& path, Communicator& communicator) {
  return communicator.maximum(communicator.is_root() && fs::exists(path) ? 1 : 0) > 0;
}

/// The statistics of the images of a split, made unless an earlier evaluation of the run left them.
ReferenceStatistics split_statistics(StageContext& context, FeatureNetwork& network, const RowTable& images,
                                     const std::string& split) {
  const fs::path path = context.run.network_statistics(hash_text(network.hash() + images.content_hash()));
  Communicator& communicator = context.communicator;
  if (!was_left(path, communicator)) {
    say("statistics of {} images ({}) by {} are made", images.rows(), split, network.name());
    const ReferenceStatistics made = make_reference(network, images, split, reference_stopped, communicator);
    if (communicator.is_root()) {
      const WorkingAlone alone("publishing the reference statistics");
      fs::create_directories(path.parent_path());
      save_reference(path, made);
    }
    communicator.barrier();
  }
  return load_reference(path);
}

FeatureReference training_statistics(StageContext& context, FeatureNetwork& network, const RowTable& train) {
  ReferenceStatistics statistics = split_statistics(context, network, train, "train");
  return {std::move(statistics.moments), std::move(statistics.spatial)};
}

FeatureReference given_statistics(StageContext& context, const FeatureNetwork& network, std::int64_t dimension,
                                  const RowTable& train) {
  const std::string& path = context.config.evaluate.reference;
  ReferenceStatistics reference = load_reference(path);
  const std::vector<std::int64_t> pixels = dataset_shape(train).pixel_shape();
  for (const std::string& doubt :
       check_reference(path, reference, network, dimension, pixels[0], pixels[1], crop_of(train.provenance())))
    if (context.communicator.is_root()) warn_line(doubt);
  return {std::move(reference.moments), std::move(reference.spatial)};
}

FeatureReference statistics_of(StageContext& context, FeatureNetwork& network, std::int64_t dimension,
                               const RowTable& train) {
  const EvaluateConfig& config = context.config.evaluate;
  if (config.network.empty()) return {load_moments(context.run.reference_statistics())};
  if (config.reference.empty()) return training_statistics(context, network, train);
  return given_statistics(context, network, dimension, train);
}

/// Features of training and held-out images, made unless an earlier evaluation of the run left them.
std::shared_ptr<const RealFeatures> real_features(StageContext& context, FeatureNetwork& network, const RowTable& train,
                                                  const RowTable& test) {
  const std::int64_t images = context.config.evaluate.pairwise_images;
  const std::string identity = network.hash() + train.content_hash() + test.content_hash() + std::to_string(images);
  const fs::path path = context.run.network_features(hash_text(identity));
  Communicator& communicator = context.communicator;
  if (!was_left(path, communicator)) {
    const auto described = [&](const RowTable& table) {
      const auto set = spread_images(table, std::min(images, table.rows()));
      const at::Tensor all = even_rows(set->shape().images, images);
      return describe_images(network, *set, all, reference_stopped, communicator).features();
    };
    say("up to {} training and held-out images are described by {}", images, network.name());
    const NamedTensors made{{"train", described(train)}, {"test", described(test)}};
    if (communicator.is_root()) {
      const WorkingAlone alone("publishing the images' features");
      fs::create_directories(path.parent_path());
      publish_tensors(path, made, {{"network", network.name()}, {"network_hash", network.hash()}});
    }
    communicator.barrier();
  }
  const NamedTensors found = read_tensors(path);
  return std::make_shared<const RealFeatures>(found.at("train"), found.at("test"), communicator);
}

std::shared_ptr<FeatureNetwork> network_of(StageContext& context, const DatasetShape& shape) {
  const EvaluateConfig& config = context.config.evaluate;
  if (!config.network.empty()) return make_feature_network({config.network, config.network_args}, context.device);
  if (look_for_node(context.graph, "features") == nullptr) return nullptr;
  return make_feature_network(
      load_classifier(context.run, context.config.features, shape, context.device, context.communicator),
      network_name(context.config), context.device);
}

/// The first training points, as many as there are samples.
PointReference point_reference(const StageContext& context, const RowTable& train) {
  const std::int64_t points = std::min(context.config.evaluate.samples, train.rows());
  return {read_rows(train, "image", 0, points).flatten(1).to(at::kFloat),
          point_density(context.config.prepare)->log_density};
}

}  // namespace

void require_samples(const Config& config, std::int64_t dimension, std::int64_t training, std::int64_t held_out) {
  const EvaluateConfig& evaluate = config.evaluate;
  // Statistics that are given are of images of their own.
  const bool enough_training = !evaluate.reference.empty() || training > dimension;
  if (std::min(evaluate.samples, held_out) > dimension && enough_training) return;
  refuse(
      "{}: {} features, so that a Fréchet distance needs at least {} samples; evaluate.samples = {}, held-out images: "
      "{} (prepare.test-rows), training images: {} (prepare.train-rows)",
      evaluate.network.empty() ? "features.dimension" : "evaluate.network = " + evaluate.network, dimension,
      dimension + 1, evaluate.samples, held_out, training);
}

ScorerReference run_reference(StageContext& context, const RowTable& train, const RowTable& test) {
  if (has_points(context.config.prepare)) return {.points = point_reference(context, train)};
  const std::int64_t pairwise_images = context.config.evaluate.pairwise_images;
  const DatasetShape shape = dataset_shape(train);
  std::shared_ptr<FeatureNetwork> network = network_of(context, shape);
  if (!network) return {};
  FeatureWidths widths = widths_of(network->describe(shape.codec->pixels(read_rows(train, "image", 0, 1))));
  require_samples(context.config, widths.features, train.rows(), test.rows());
  FeatureReference reference = statistics_of(context, *network, widths.features, train);
  if (shape.low_resolution.is_given()) reference.held_out = split_statistics(context, *network, test, "test").moments;
  if (pairwise_images > 0) reference.real = real_features(context, *network, train, test);
  if (pairwise_images == 0 || !reference.spatial) widths.spatial = 0;
  if (pairwise_images == 0) widths.classes = 0;
  return {std::move(network), widths, pairwise_images, std::move(reference)};
}

}  // namespace couplet
