// What a network says of all images of a set.
#pragma once

#include "pipeline/communicator.h"
#include "stages/evaluate/feature_network.h"
#include "stages/evaluate/frechet.h"
#include "stages/evaluate/image_set.h"
#include "stages/evaluate/inception_score.h"

#include <ATen/core/Tensor.h>

#include <optional>

namespace couplet {

struct DescribedImages {
  at::Tensor features;  ///< float32 [n, dimension], on the CPU of every rank
  Moments moments;
  std::optional<Moments> spatial;           ///< where the network gives spatial features (sFID)
  std::optional<InceptionScore> inception;  ///< where the network gives class scores, of ten images or more
};

/// In slices of 250 images that the ranks take in turn: the same digits on any number of ranks, equal on all of them.
/// Collective: an error of one rank (an image that cannot be read) is thrown on every one. Memory: the features, and
/// the moments' matrices.
DescribedImages describe_images(FeatureNetwork& network, ImageSet& images, Communicator& communicator);

}  // namespace couplet
