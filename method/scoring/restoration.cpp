#include "method/scoring/restoration.h"

#include "method/metrics/image_similarity.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

namespace couplet {
namespace {

/// Of all channels, then, of colour images, of their luminance; the consistency stands last.
enum LikenessFigure : std::int64_t {
  restored_psnr,  ///< 0 where the images are equal
  restored_differs,
  restored_ssim,  ///< NaN for images smaller than a window
  likeness_figures
};

constexpr double white = 255;

/// Float64 [n, likeness_figures].
at::Tensor likeness(const at::Tensor& restored, const at::Tensor& images) {
  const at::Tensor ratio = psnr(restored, images), differs = ratio.isfinite();
  return at::stack({at::where(differs, ratio, at::zeros_like(ratio)), differs.to(at::kDouble), ssim(restored, images)},
                   1);
}

void add_likeness(const at::Tensor& means, const std::string& of, std::int64_t samples,
                  std::vector<FeatureScore>& scores) {
  const double differing = means[restored_differs].item<double>();
  const auto equal = std::llround((1 - differing) * static_cast<double>(samples));
  scores.push_back(
      {"restoration_psnr" + of, means[restored_psnr].item<double>() / differing, samples, {{"equal_pairs", equal}}});
  scores.push_back({"restoration_ssim" + of, means[restored_ssim].item<double>(), samples});
}

}  // namespace

std::int64_t restoration_width(std::int64_t channels) {
  return (channels == 3 ? 2 : 1) * likeness_figures + 1;
}

at::Tensor restoration_figures(const at::Tensor& restored, const at::Tensor& images, const LowResolution& low) {
  const at::Tensor lost = downsampled(restored, low).to(at::kDouble) - downsampled(images, low).to(at::kDouble);
  std::vector<at::Tensor> figures{likeness(restored, images)};
  if (images.size(1) == 3) figures.push_back(likeness(luminance(restored), luminance(images)));
  figures.push_back((lost / white).square().flatten(1).mean(1, /*keepdim=*/true));
  return at::cat(figures, 1);
}

std::vector<FeatureScore> restoration_scores(const at::Tensor& means, std::int64_t samples) {
  std::vector<FeatureScore> scores;
  add_likeness(means, "", samples, scores);
  if (means.size(0) > likeness_figures + 1)
    add_likeness(means.narrow(0, likeness_figures, likeness_figures), "_luminance", samples, scores);
  scores.push_back({"consistency", means[-1].item<double>(), samples});
  return scores;
}

at::Tensor luminance(const at::Tensor& images) {
  constexpr std::int64_t red = 19595, green = 38470, blue = 7471, half = 1 << 15, bits = 16;
  const at::Tensor values = images.to(at::kInt);
  const at::Tensor sum = red * values.narrow(1, 0, 1) + green * values.narrow(1, 1, 1) + blue * values.narrow(1, 2, 1);
  return at::floor_divide(sum + half, std::int64_t{1} << bits).to(at::kByte);
}

}  // namespace couplet
