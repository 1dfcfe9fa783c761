// The built-in feature network of a run.
#pragma once

#include "pipeline/config.h"
#include "pipeline/run_directory.h"
#include "stages/dataset.h"
#include "stages/features/classifier.h"

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
