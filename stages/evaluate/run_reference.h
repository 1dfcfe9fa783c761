// What a run's samples are compared by: a feature network, with its statistics and features of the training images.
#pragma once

#include "method/scoring/scorer.h"
#include "pipeline/run/stage_context.h"
#include "storage/tables/row_table.h"

namespace couplet {

/// The network of `evaluate.network`; the classifier of the features stage where there is none; where there is neither,
/// as the images have no classes, no network and no reference. The network's reference is
/// `evaluate.reference`, or statistics of the training images, which the first evaluation publishes in RUN/evaluate for
/// all (named by network and data set, so that another network's are never taken for them). Refuses fewer samples than
/// features + 1 before any are made, and a reference of another network.
///
/// Unless `evaluate.pairwise-images` is 0, features of as many training images and held-out ones, at even distances,
/// are held in memory; the first evaluation publishes them in RUN/evaluate too. Collective.
ScorerReference run_reference(StageContext& context, const RowTable& train, const RowTable& test);

}  // namespace couplet
