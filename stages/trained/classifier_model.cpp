#include "stages/trained/classifier_model.h"

#include "pipeline/tensor/weights.h"

namespace couplet {

ClassifierOptions classifier_options(const FeaturesConfig& config, const DatasetShape& shape) {
  ClassifierOptions options;
  options.in_channels = shape.channels;
  options.image_size = shape.size;
  options.channels = config.channels;
  options.dimension = config.dimension;
  options.num_classes = shape.classes;
  options.recompute = config.training.checkpoint_activations;
  return options;
}

std::string network_name(const Config& config) {
  return config.prepare.name + " classifier features";
}

Classifier load_classifier(const RunDirectory& run, const FeaturesConfig& config, const DatasetShape& shape,
                           c10::Device device) {
  return with_weights(make_classifier(classifier_options(config, shape), 0), run.classifier(), device);
}

}  // namespace couplet
