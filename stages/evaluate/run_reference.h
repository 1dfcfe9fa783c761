// What a run's samples are compared by: a feature network, with its statistics and features of the training images.
#pragma once

#include "method/scoring/scorer.h"
#include "pipeline/run/stage_context.h"
#include "storage/tables/row_table.h"

namespace couplet {

/// Refuses `evaluate.samples`, held-out images and, where statistics are made of them, training images that are no more
/// than the features of the network (`dimension`). `training`, `held_out`: how many images there are.
void require_samples(const Config& config, std::int64_t dimension, std::int64_t training, std::int64_t held_out);

/// The network of `evaluate.network`; the classifier of the features stage where there is none; where there is neither,
/// as the images have no classes, no network and no reference. The network's reference is
/// `evaluate.reference`, or statistics of the training images, which the first evaluation publishes in RUN/evaluate for
/// all (named by network and data set, so that another network's are never taken for them). Refuses a
/// reference of another network, and as `require_samples` does.
///
/// Of a data set of points: its training points, and no network.
/// Where students are given a low resolution, statistics of the held-out images are made and published likewise:
/// samples are restored held-out images, and are compared with these too.
///
/// Unless `evaluate.pairwise-images` is 0, features of as many training images and held-out ones, at even distances,
/// are held in memory; the first evaluation publishes them in RUN/evaluate too. Collective.
ScorerReference run_reference(StageContext& context, const RowTable& train, const RowTable& test);

}  // namespace couplet
