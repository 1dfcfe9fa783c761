// Filters of resampling, those of Pillow 12 (Image.Resampling) to the last bit.
#pragma once

#include <string>
#include <vector>

namespace couplet {

struct ResampleFilter {
  std::string name, help;
  double support = 0;               ///< the weight is 0 further away, in pixels of the coarser of both grids
  double (*weight)(double x) = {};  ///< not normalised
};

/// box, bilinear, bicubic, lanczos.
const std::vector<ResampleFilter>& resample_filters();
/// An unknown name is refused with the nearest.
const ResampleFilter& find_resample_filter(const std::string& name);

}  // namespace couplet
