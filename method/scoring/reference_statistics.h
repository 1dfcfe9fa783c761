// What generated images are compared with: the moments of a network's features over a set of images, and of what they
// are.
#pragma once

#include "method/features/feature_network.h"
#include "method/metrics/frechet.h"
#include "pipeline/distributed/communicator.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// Fields are empty, or 0, where a file made elsewhere does not say.
struct ReferenceStatistics {
  Moments moments;
  std::optional<Moments> spatial = {};  ///< of the spatial features (sFID), where the network gives some
  /// False for a file that does not say how many images it is of: the moments then have the file's mean and covariance
  /// and a count that stands for none.
  bool count_known = true;
  std::string network = {}, network_hash = {}, resize = {};  ///< as FeatureNetwork has them
  std::string dataset = {};                                  ///< content hash of the table of images
  std::string split = {};                                    ///< "train", "test"
  std::string crop = {};                                     ///< crop_of the table
  std::int64_t channels = 0, size = 0;                       ///< of the images: [channels, size, size]
};

/// Describes all images of a data set's table, in slices of 250: the digits are the same on any number of ranks.
/// Collective. `stopped` is the message of Interrupted when a stop is asked for between slices; if it is empty, all
/// slices are computed.
ReferenceStatistics make_reference(FeatureNetwork& network, const RowTable& images, const std::string& split,
                                   const std::string& stopped, Communicator& communicator);

/// Publishes FILE.safetensors, or FILE.npz with "mu" and "sigma" (float64; "mu_s" and "sigma_s" of spatial features),
/// as pytorch-fid, ADM and EDM read them, "n" and, as JSON bytes, "provenance".
void save_reference(const std::filesystem::path& path, const ReferenceStatistics& statistics);
/// Reads either, whoever made it. A file that holds no statistics is an error that names it; so is one whose covariance
/// is none beyond rounding: not symmetric, with negative eigenvalues, or of values that no features have.
ReferenceStatistics load_reference(const std::filesystem::path& path);

/// Refuses statistics of another dimension or network than `network`, whose features are of `dimension`, or of images
/// of another crop ("": not known), naming both sides. What is doubtful (images of another size, a file that does not
/// say what made it) is returned, a line each.
std::vector<std::string> check_reference(const std::filesystem::path& path, const ReferenceStatistics& statistics,
                                         const FeatureNetwork& network, std::int64_t dimension, std::int64_t channels,
                                         std::int64_t size, const std::string& crop = "");

}  // namespace couplet
