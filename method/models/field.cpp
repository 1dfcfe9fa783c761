#include "method/models/field.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <vector>

namespace couplet {

at::Tensor Field::forward_by_layers(const at::Tensor&, const at::Tensor&, const Condition&, std::vector<at::Tensor>&) {
  fail("the network has no layers of tokens");
}

at::Tensor guided_output(Field& field, const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                         double scale) {
  if (scale == 1) return field.forward(x, t, condition);
  const at::Tensor none = at::full_like(condition.labels, field.no_label());
  const auto doubled = [](const at::Tensor& rows) { return rows.defined() ? at::cat({rows, rows}) : rows; };
  const Condition twice{at::cat({condition.labels, none}), doubled(condition.image), {}, doubled(condition.span)};
  const auto both = field.forward(at::cat({x, x}), at::cat({t, t}), twice).chunk(2);
  return at::lerp(both[1], both[0], scale);
}

at::Tensor condition_image(const at::Tensor& x, const Condition& condition, std::int64_t channels) {
  const at::Tensor& image = condition.image;
  const std::vector<std::int64_t> expected{x.size(0), channels, x.size(2), x.size(3)};
  if (!image.defined())
    fail("the network sees a condition of {} channels beside each image, and is given none", channels);
  if (image.sizes() != expected)
    fail(
        "the network sees conditions [{}] beside images [{}], and is given [{}]: a smaller one has to be enlarged to "
        "the images' size before",
        fmt::join(expected, ", "), fmt::join(x.sizes(), ", "), fmt::join(image.sizes(), ", "));
  return image.to(x.scalar_type());
}

at::Tensor with_condition_image(const at::Tensor& x, const Condition& condition, std::int64_t channels) {
  if (channels > 0) return at::cat({x, condition_image(x, condition, channels)}, 1);
  if (condition.image.defined())
    fail("the network sees no condition beside images, and is given one [{}]",
         fmt::join(condition.image.sizes(), ", "));
  return x;
}

}  // namespace couplet
