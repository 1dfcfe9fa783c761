#include "method/models/field.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <vector>

namespace couplet {

at::Tensor guided_output(Field& field, const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                         double scale) {
  if (scale == 1) return field.forward(x, t, condition);
  const at::Tensor none = at::full_like(condition.labels, field.no_label());
  const at::Tensor& image = condition.image;
  const Condition twice{at::cat({condition.labels, none}), image.defined() ? at::cat({image, image}) : image};
  const auto both = field.forward(at::cat({x, x}), at::cat({t, t}), twice).chunk(2);
  return at::lerp(both[1], both[0], scale);
}

at::Tensor with_condition_image(const at::Tensor& x, const Condition& condition, std::int64_t condition_channels) {
  const at::Tensor& image = condition.image;
  if (condition_channels == 0) {
    if (image.defined())
      fail("a network without condition channels is given an image [{}] as condition", fmt::join(image.sizes(), ", "));
    return x;
  }
  const std::vector<std::int64_t> wanted{x.size(0), condition_channels, x.size(2), x.size(3)};
  if (!image.defined())
    fail("a network with {} condition channels is given no image as condition; expected [{}]", condition_channels,
         fmt::join(wanted, ", "));
  if (image.sizes() != wanted)
    fail("the image of a condition is [{}], expected [{}]", fmt::join(image.sizes(), ", "), fmt::join(wanted, ", "));
  return at::cat({x, image.to(x.scalar_type())}, 1);
}

}  // namespace couplet
