// PSNR and SSIM against closed forms and a window-by-window computation.
#include "method/metrics/image_similarity.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace couplet {
namespace {

at::Tensor flat(std::int64_t value, std::int64_t size = 16) {
  return at::full({1, 1, size, size}, value, at::kByte);
}

TEST(Psnr, ClosedForms) {
  EXPECT_NEAR(psnr(flat(100), flat(110)).item<double>(), 20 * std::log10(25.5), 1e-12);
  EXPECT_NEAR(psnr(flat(0), flat(255)).item<double>(), 0, 1e-12);
  EXPECT_TRUE(std::isinf(psnr(flat(7), flat(7)).item<double>())) << "equal images";
}

TEST(Ssim, ClosedForms) {
  const at::Tensor noise = at::randint(0, 256, {3, 3, 20, 24}, at::kByte);
  EXPECT_TRUE(ssim(noise, noise).allclose(at::ones({3}, at::kDouble), 0, 1e-12));
  // Of flat images the means alone are left.
  const double c1 = 2.55 * 2.55;
  EXPECT_NEAR(ssim(flat(50), flat(80)).item<double>(), (2 * 50 * 80 + c1) / (50 * 50 + 80 * 80 + c1), 1e-9);
}

TEST(Ssim, EqualsItsDefinitionWindowByWindow) {
  at::manual_seed(1);
  const at::Tensor a = at::randint(0, 256, {2, 3, 14, 13}, at::kByte);
  const at::Tensor b = (a.to(at::kDouble) + 40 * at::randn({2, 3, 14, 13}, at::kDouble)).clamp(0, 255).to(at::kByte);
  at::Tensor weights = at::empty({11, 11}, at::kDouble);
  for (int y = 0; y < 11; ++y)
    for (int x = 0; x < 11; ++x) weights[y][x] = std::exp(-((y - 5) * (y - 5) + (x - 5) * (x - 5)) / (2 * 1.5 * 1.5));
  weights /= weights.sum();
  const auto mean_of = [&](const at::Tensor& values) { return (weights * values).sum().item<double>(); };
  for (std::int64_t image = 0; image < 2; ++image) {
    double sum = 0;
    int windows = 0;
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t y = 0; y + 11 <= 14; ++y)
        for (std::int64_t x = 0; x + 11 <= 13; ++x, ++windows) {
          const auto window = [&](const at::Tensor& set) {
            return set[image][c].narrow(0, y, 11).narrow(1, x, 11).to(at::kDouble);
          };
          const at::Tensor p = window(a), q = window(b);
          const double mp = mean_of(p), mq = mean_of(q);
          const double vp = mean_of((p - mp).square()), vq = mean_of((q - mq).square());
          const double cov = mean_of((p - mp) * (q - mq)), c1 = 2.55 * 2.55, c2 = 7.65 * 7.65;
          sum += (2 * mp * mq + c1) * (2 * cov + c2) / ((mp * mp + mq * mq + c1) * (vp + vq + c2));
        }
    EXPECT_NEAR(ssim(a, b)[image].item<double>(), sum / windows, 1e-10);
  }
}

TEST(Similarity, RefusesWhatIsNoPair) {
  EXPECT_THROW(psnr(flat(1, 16), flat(1, 17)), Error);
  EXPECT_THROW(psnr(flat(1), flat(1).to(at::kFloat)), Error);
  EXPECT_THROW(ssim(flat(1), flat(1).to(at::kFloat)), Error);
}

TEST(Similarity, ImagesSmallerThanAWindowHaveNoSsim) {
  const at::Tensor small = flat(1, 10).expand({3, -1, -1, -1});
  EXPECT_EQ(ssim(small, small).sizes(), (std::vector<std::int64_t>{3}));
  EXPECT_TRUE(ssim(small, small).isnan().all().item<bool>());
  EXPECT_DOUBLE_EQ(ssim(flat(1, 11), flat(1, 11)).item<double>(), 1);
}

}  // namespace
}  // namespace couplet
