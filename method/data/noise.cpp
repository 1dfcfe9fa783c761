#include "method/data/noise.h"

#include "method/data/images.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <span>

namespace couplet {

at::Tensor noised(const at::Tensor& image, const Codec& codec, const ImageNoise& noise, std::uint64_t seed,
                  Purpose purpose, std::uint64_t index) {
  at::Tensor draw = at::empty(image.sizes(), at::kFloat);
  const std::span<float> values(draw.data_ptr<float>(), static_cast<std::size_t>(draw.numel()));
  if (noise.uniform) {
    if (codec.stored_type() != ElementType::uint8)
      refuse("teacher.noise = uniform is one level of 8-bit images wide; the data set's codec {} stores {}",
             codec.name(), element_name(codec.stored_type()));
    fill_uniform(values, seed, purpose, index);
    return draw.add_(image.to(at::kFloat)).div_(128.0).sub_(1.0);
  }
  fill_normal(values, seed, purpose, index);
  return draw.mul_(noise.standard_deviation).add_(codec.encode(image));
}

at::Tensor noised_rows(const at::Tensor& images, const Codec& codec, const ImageNoise& noise, std::uint64_t seed,
                       Purpose purpose, const std::vector<std::int64_t>& indices) {
  at::Tensor out = at::empty(images.sizes(), at::kFloat);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    out[row].copy_(noised(images[row], codec, noise, seed, purpose, static_cast<std::uint64_t>(indices[i])));
  }
  return out;
}

at::Tensor without_uniform_noise(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kFloat);
  const at::Tensor grey = values.add(1.0).mul_(128.0).floor_().clamp_(0.0, 255.0);
  return at::where(values.isfinite(), grey.div(levels_a_unit).sub_(1.0), values);
}

at::Tensor normal_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices) {
  std::vector<std::int64_t> sizes{static_cast<std::int64_t>(indices.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  at::Tensor out = at::empty(sizes, at::kFloat);
  const std::size_t values = indices.empty() ? 0 : static_cast<std::size_t>(out.numel()) / indices.size();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    fill_normal({out.data_ptr<float>() + i * values, values}, seed, purpose, static_cast<std::uint64_t>(indices[i]));
  }
  return out;
}

at::Tensor dequantised(const at::Tensor& images, const Codec& codec, std::uint64_t seed,
                       const std::vector<std::int64_t>& rows) {
  at::Tensor x = at::empty(images.sizes(), at::kFloat);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    at::Tensor row = x[static_cast<std::int64_t>(i)];
    fill_uniform({row.data_ptr<float>(), static_cast<std::size_t>(row.numel())}, seed, Purpose::likelihood_noise,
                 static_cast<std::uint64_t>(rows[i]));
  }
  return codec.encode(x.add_(images.to(at::kFloat)).sub_(0.5));
}

at::Tensor student_bits(const at::Tensor& nats, std::int64_t values, const Codec& codec) {
  return nats / (-static_cast<double>(values) * std::numbers::ln2) + std::log2(codec.levels());
}

}  // namespace couplet
