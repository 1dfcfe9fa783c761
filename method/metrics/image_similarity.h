// How alike the images of pairs are: for tasks whose result is known, such as super-resolution.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace couplet {

/// Peak signal-to-noise ratio in dB of each pair, 10 log10(255² / mean squared difference) over all values: float64
/// [n]; infinite for equal images. `a` and `b`: uint8 [n, C, H, W].
at::Tensor psnr(const at::Tensor& a, const at::Tensor& b);

constexpr std::int64_t ssim_window = 11;  ///< pixels a side

/// Structural similarity of each pair (Wang et al. 2004): float64 [n]. Windows are Gaussian, 11x11, σ = 1.5; C1 = (0.01
/// · 255)², C2 = (0.03 · 255)²; variances of the window as they are (not n / (n - 1) of them); mean over the windows
/// that lie wholly within the image, and over channels. That is scikit-image's structural_similarity with
/// gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, and torchmetrics' with its defaults
/// and data_range=255. NaN for images smaller than a window.
at::Tensor ssim(const at::Tensor& a, const at::Tensor& b);

}  // namespace couplet
