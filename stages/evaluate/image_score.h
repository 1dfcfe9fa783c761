// All scores of images made by anybody (`couplet score`), by the code that the evaluate stage uses.
#pragma once

#include "pipeline/communicator.h"
#include "stages/evaluate/feature_network.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace couplet {

struct ImageScoreRequest {
  std::filesystem::path samples;    ///< a set of images (image_set.h)
  std::filesystem::path reference;  ///< another, or stored statistics of one
  bool full_kernel = false;         ///< the kernel distance over all rows, too: time grows with their product
  bool paired = false;              ///< sample i is to be image i of the reference: PSNR and SSIM
  std::int64_t nearest = 0;         ///< reference images nearest to each sample that are looked for, by pixels
};

/// Samples, reference and network as they were found; "metrics" (null: could not be scored), their "settings", and
/// "notes", a line each, on what a reader should know. docs/metrics.md lists the names. Without a network there are no
/// scores of features. Collective; the same digits on any number of ranks.
nlohmann::ordered_json score_images(const ImageScoreRequest& request, FeatureNetwork* network,
                                    Communicator& communicator);

}  // namespace couplet
