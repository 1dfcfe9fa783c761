// The data set that tests of tables are made of.
#pragma once

#include "method/data/image_source.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>

namespace couplet::testing {

/// Grey images [1, size, size] of 8 bits: value v of image i is i · of_image + v · of_value, its class i · of_class.
struct GreyPattern {
  std::int64_t size, classes, of_image = 1, of_value = 1, of_class = 1;
};

class GreyImages : public SourceImages {
public:
  GreyImages(const std::string& name, std::int64_t images, const GreyPattern& pattern)
      : SourceImages(name, {images, 1, pattern.size, pattern.size}), pattern_(pattern) {}
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    const std::int64_t size = pattern_.size;
    const at::Tensor begins = at::arange(first, first + count).view({-1, 1}) * pattern_.of_image;
    return (begins + at::arange(size * size) * pattern_.of_value).to(at::kByte).view({-1, 1, size, size});
  }
  std::int64_t label(std::int64_t image) const override { return image * pattern_.of_class % pattern_.classes; }
  std::string content_hash() const override { return "grey"; }

private:
  GreyPattern pattern_;
};

inline ImageSource grey_source(std::int64_t train_images, std::int64_t test_images, const GreyPattern& pattern) {
  return {pattern.classes, std::make_unique<GreyImages>("train", train_images, pattern),
          std::make_unique<GreyImages>("test", test_images, pattern)};
}

}  // namespace couplet::testing
