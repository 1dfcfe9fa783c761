// What a run's samples are compared by: a feature network, and its statistics over the training images.
#pragma once

#include "pipeline/stage.h"
#include "stages/evaluate/feature_network.h"
#include "stages/evaluate/frechet.h"
#include "storage/row_table.h"

#include <memory>

namespace couplet {

struct FeatureReference {
  std::shared_ptr<FeatureNetwork> network;
  Moments moments;
};

/// The network of `evaluate.network`; the classifier of the features stage where there is none. Its reference is
/// `evaluate.reference`, or statistics of the training images, which the first evaluation publishes in RUN/evaluate for
/// all (named by network and data set, so that another network's are never taken for them). Refuses fewer samples than
/// features + 1 before any are made, and a reference of another network. Collective.
FeatureReference run_reference(StageContext& context, const RowTable& train, const RowTable& test);

}  // namespace couplet
