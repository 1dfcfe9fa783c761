// Resampling of 8-bit pictures with the bits of Pillow 12 (Image.resize), on which the crops of published data sets
// stand: two passes of integer arithmetic, so that every processor gives the same values.
#pragma once

#include "method/data/resample_filter.h"
#include "storage/images/image.h"

#include <cstdint>

namespace couplet {

/// The picture at another size, its sides scaled independently. First the columns change, then the rows; values between
/// are rounded to 8 bits. Where a side keeps its length, nothing is done along it.
Picture resample(const Picture& picture, std::int64_t height, std::int64_t width, const ResampleFilter& filter);

}  // namespace couplet
