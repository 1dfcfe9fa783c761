// Crops: how a picture of any size becomes a square one. Published data sets and their reference statistics differ in
// it, so that its name belongs to what is made of images.
#pragma once

#include "method/data/resample.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

struct CropKind {
  std::string name, help;
  bool takes_filter = false;  ///< others have their own
  /// The picture as `size` x `size` pixels. One that cannot become that is refused.
  Picture (*apply)(const Picture& picture, std::int64_t size, const ResampleFilter& filter) = {};
};

/// adm (the usual one), edm, torchvision, squeeze, none.
const std::vector<CropKind>& crop_kinds();
/// An unknown name is refused with the nearest.
const CropKind& find_crop(const std::string& name);

}  // namespace couplet
