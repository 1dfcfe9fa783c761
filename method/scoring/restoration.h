// How well images are restored from their low resolution.
#pragma once

#include "method/data/low_resolution.h"
#include "method/scoring/feature_comparison.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// Figures that are taken of a restored image of so many channels.
std::int64_t restoration_width(std::int64_t channels);
/// Those of restored images beside the images themselves, uint8 [n, C, H, W] on the CPU: float64 [n,
/// restoration_width(C)].
at::Tensor restoration_figures(const at::Tensor& restored, const at::Tensor& images, const LowResolution& low);
/// What the means of these figures over `samples` images, float64 [restoration_width], come to: "restoration_psnr" and
/// "restoration_ssim" over all channels (image_similarity.h), of colour images "restoration_psnr_luminance" and
/// "restoration_ssim_luminance" too, and "consistency", the mean squared difference, of values on [0, 1], between the
/// low resolution of what was made and that of the image. Restored images that are equal to the image have no PSNR;
/// they are left out of its mean, and counted.
std::vector<FeatureScore> restoration_scores(const at::Tensor& means, std::int64_t samples);

/// Grey values of colours, uint8 [n, 3, H, W] → uint8 [n, 1, H, W]: (19595 R + 38470 G + 7471 B) / 2^16, rounded (ITU-R
/// BT.601 at full range, as PIL's mode L).
at::Tensor luminance(const at::Tensor& images);

}  // namespace couplet
