// The networks there are: of a file, and the built-in classifier.
#pragma once

#include "method/features/feature_network.h"
#include "method/models/classifier.h"

#include <c10/core/Device.h>

#include <memory>
#include <string>

namespace couplet {

/// The network of a file, on `device`. A file that is neither is refused.
std::unique_ptr<FeatureNetwork> make_feature_network(const NetworkFile& file, c10::Device device);
/// The built-in classifier, already on `device`.
std::unique_ptr<FeatureNetwork> make_feature_network(Classifier classifier, const std::string& name,
                                                     c10::Device device);

}  // namespace couplet
