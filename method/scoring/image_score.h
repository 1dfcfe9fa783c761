// All scores of images made by anybody (`couplet score`), by the code that the evaluate stage uses.
#pragma once

#include "method/features/feature_network.h"
#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace couplet {

struct ImageScoreRequest {
  std::filesystem::path samples;        ///< a set of images (image_set.h)
  std::filesystem::path reference;      ///< another, or stored statistics of one
  std::filesystem::path held_out = {};  ///< of the reference's kind, for "nearest_training_ratio"; empty: none
  std::int64_t compared_images = 0;     ///< of each set, compared image by image; 0: the Fréchet distance alone
  bool paired = false;                  ///< sample i is to be image i of the reference: PSNR and SSIM
  std::int64_t nearest = 0;             ///< reference images nearest to each sample that are looked for, by pixels
};

/// Samples, reference and network as they were found; "scores", with the names and fields of a run's records
/// (docs/metrics.md), of which "value" is null where it is not finite; and "warnings", a line each. Without a network
/// there are no scores of features. Collective; the same digits on any number of ranks. Refuses what cannot be compared
/// with a line that says what is expected.
nlohmann::ordered_json score_images(const ImageScoreRequest& request, FeatureNetwork* network,
                                    Communicator& communicator);

}  // namespace couplet
