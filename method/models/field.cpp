#include "method/models/field.h"

#include <ATen/ATen.h>

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

}  // namespace couplet
