// The built-in feature network of a run.
#pragma once

#include "method/data/dataset.h"
#include "method/models/classifier.h"
#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <c10/core/Device.h>

#include <string>

namespace couplet {

ClassifierOptions classifier_options(const FeaturesConfig& config, const DatasetShape& shape);
/// How results name it: "Fashion-MNIST classifier features". Never FID, which means Inception features.
std::string network_name(const Config& config);
/// The published classifier, in evaluation mode on `device`.
Classifier load_classifier(const RunDirectory& run, const FeaturesConfig& config, const DatasetShape& shape,
                           c10::Device device);

}  // namespace couplet
