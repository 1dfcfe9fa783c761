// The training images nearest to samples: has the model learnt images by heart?
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace couplet {

/// The k nearest images of each of n samples, the nearest first.
struct NearestImages {
  at::Tensor rows;       ///< int64 [n, k]: indices of images
  at::Tensor distances;  ///< float64 [n, k]: Euclidean, in grey levels
};

/// Images to search: uint8 [count, C, H, W] from `first` on.
struct SearchedImages {
  std::int64_t rows = 0;
  std::function<at::Tensor(std::int64_t first, std::int64_t count)> read;
};

/// Exact, by pixels: squared distances of 8-bit images are whole numbers that float64 holds. `samples`: uint8 [n, C, H,
/// W], equal on every rank; the ranks take slices of them in turn, and each reads all images, a few thousand at a time,
/// for each of its slices. Collective. Refuses k above the number of images, and images of another shape.
NearestImages nearest_images(const at::Tensor& samples, const SearchedImages& images, std::int64_t k,
                             Communicator& communicator);

}  // namespace couplet
