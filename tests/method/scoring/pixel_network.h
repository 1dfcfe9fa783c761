// A feature network whose features are the first pixels of an image, so that tests know them.
#pragma once

#include "method/features/feature_network.h"

#include <ATen/ATen.h>

#include <limits>
#include <string>

namespace couplet {

/// Three features: the first three values of an image, grey levels over 255. Images whose first value is 255 have a
/// feature that is not finite where the network `breaks`.
class PixelNetwork : public FeatureNetwork {
public:
  explicit PixelNetwork(bool breaks = false) : breaks_(breaks) {}

  static at::Tensor features(const at::Tensor& images) {
    return images.flatten(1).narrow(1, 0, 3).to(at::kFloat) / 255;
  }
  ImageFeatures describe(const at::Tensor& images) override {
    const at::Tensor made = features(images);
    const double none = std::numeric_limits<double>::quiet_NaN();
    return {breaks_ ? made.masked_fill(made.eq(1), none) : made, {}, {}};
  }
  const std::string& name() const override { return name_; }
  const std::string& hash() const override { return hash_; }
  const std::string& resize() const override { return resize_; }

private:
  bool breaks_;
  std::string name_ = "pixels.pt", hash_ = "abc", resize_ = "none";
};

}  // namespace couplet
