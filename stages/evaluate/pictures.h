// Samples beside the training images nearest to them: what has been learnt by heart is seen at a glance.
#pragma once

#include "method/scoring/feature_comparison.h"
#include "method/scoring/scorer.h"
#include "pipeline/distributed/communicator.h"
#include "storage/tables/row_table.h"

#include <filesystem>

namespace couplet {

/// Publishes the first samples of a score, up to ten a row and four rows, under each row the training images whose
/// features are nearest to theirs. `real`: features of rows of `train` at even distances. Collective; nothing where the
/// score keeps no features.
void publish_nearest_picture(const std::filesystem::path& path, const SampleScore& score, const RealFeatures& real,
                             const RowTable& train, Communicator& communicator);

}  // namespace couplet
