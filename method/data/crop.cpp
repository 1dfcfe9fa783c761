#include "method/data/crop.h"

#include "method/registry.h"
#include "storage/error.h"

#include <algorithm>
#include <cmath>

namespace couplet {
namespace {

Picture window(const Picture& picture, std::int64_t top, std::int64_t left, std::int64_t size) {
  if (picture.height == size && picture.width == size) return picture;
  Picture out{size, size, picture.channels, {}};
  out.pixels.reserve(static_cast<std::size_t>(size * size * picture.channels));
  for (std::int64_t y = 0; y < size; ++y) {
    const auto row = picture.pixels.begin() + ((top + y) * picture.width + left) * picture.channels;
    out.pixels.insert(out.pixels.end(), row, row + size * picture.channels);
  }
  return out;
}

/// To the nearest integer, halves to the even one, as Python's round.
std::int64_t rounded(double x) {
  return std::llrint(x);
}

/// The picture at another size, of the same shape. A strip of pixels may be made too long to be held.
Picture scaled_picture(const Picture& picture, std::int64_t height, std::int64_t width, const ResampleFilter& filter) {
  if (width > most_decoded_pixels / height)
    refuse("of {} x {} pixels (width, height), which the crop would make {} x {}; at most {} pixels are made",
           picture.width, picture.height, width, height, most_decoded_pixels);
  return resample(picture, height, width, filter);
}

/// guided-diffusion's center_crop_arr.
Picture adm_crop(const Picture& picture, std::int64_t size, const ResampleFilter&) {
  const ResampleFilter &box = find_resample_filter("box"), &bicubic = find_resample_filter("bicubic");
  Picture halved;
  const Picture* whole = &picture;
  while (std::min(whole->height, whole->width) >= 2 * size) {
    halved = resample(*whole, whole->height / 2, whole->width / 2, box);
    whole = &halved;
  }
  const double scale = static_cast<double>(size) / static_cast<double>(std::min(whole->height, whole->width));
  const Picture scaled = scaled_picture(*whole, rounded(static_cast<double>(whole->height) * scale),
                                        rounded(static_cast<double>(whole->width) * scale), bicubic);
  return window(scaled, (scaled.height - size) / 2, (scaled.width - size) / 2, size);
}

/// EDM's dataset_tool.py --transform=center-crop.
Picture edm_crop(const Picture& picture, std::int64_t size, const ResampleFilter&) {
  const std::int64_t side = std::min(picture.height, picture.width);
  return resample(window(picture, (picture.height - side) / 2, (picture.width - side) / 2, side), size, size,
                  find_resample_filter("lanczos"));
}

/// Resize(size), then CenterCrop(size), of torchvision's transforms.
Picture torchvision_crop(const Picture& picture, std::int64_t size, const ResampleFilter&) {
  const std::int64_t side = std::min(picture.height, picture.width);
  const Picture scaled = scaled_picture(picture, size * picture.height / side, size * picture.width / side,
                                        find_resample_filter("bilinear"));
  const auto offset = [size](std::int64_t length) { return rounded(static_cast<double>(length - size) / 2); };
  return window(scaled, offset(scaled.height), offset(scaled.width), size);
}

Picture squeeze(const Picture& picture, std::int64_t size, const ResampleFilter& filter) {
  return resample(picture, size, size, filter);
}

Picture uncropped(const Picture& picture, std::int64_t size, const ResampleFilter&) {
  if (picture.height != size || picture.width != size)
    refuse("of {} x {} pixels (width, height), where without a crop images of {} x {} are expected", picture.width,
           picture.height, size, size);
  return picture;
}

}  // namespace

const std::vector<CropKind>& crop_kinds() {
  static const std::vector<CropKind> all{
      {"adm", "ADM's: halved by box while that leaves enough, short side scaled by bicubic, middle", false, adm_crop},
      {"edm", "EDM's center-crop: the largest square in the middle, scaled by lanczos", false, edm_crop},
      {"torchvision", "TarFlow's: short side scaled by bilinear, middle", false, torchvision_crop},
      {"squeeze", "the whole image squeezed into the square, as the small ImageNets were made (by box)", true, squeeze},
      {"none", "images as they are, which must be of that size", false, uncropped},
  };
  return all;
}

const CropKind& find_crop(const std::string& name) {
  return find_kind(crop_kinds(), name, "crop");
}

}  // namespace couplet
