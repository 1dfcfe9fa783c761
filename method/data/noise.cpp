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
  if (noise.uniform) {
    if (codec.stored_type() != ElementType::uint8)
      refuse("teacher.noise = uniform is one level of 8-bit images wide; the data set's codec {} stores {}",
             codec.name(), element_name(codec.stored_type()));
    at::Tensor draw = at::empty(image.sizes(), at::kFloat);
    fill_uniform({draw.data_ptr<float>(), static_cast<std::size_t>(draw.numel())}, seed, purpose, index);
    return draw.add_(image.to(at::kFloat)).div_(128.0).sub_(1.0);
  }
  // Training sees another draw of an image at every visit, all else the one that couplings hold.
  const at::Tensor seen = purpose == Purpose::teacher_noise ? codec.drawn(image, index + 1) : codec.encode(image);
  at::Tensor draw = at::empty(seen.sizes(), at::kFloat);
  fill_normal({draw.data_ptr<float>(), static_cast<std::size_t>(draw.numel())}, seed, purpose, index);
  return draw.mul_(noise.standard_deviation).add_(seen);
}

at::Tensor noised_rows(const at::Tensor& images, const Codec& codec, const ImageNoise& noise, std::uint64_t seed,
                       Purpose purpose, const std::vector<std::int64_t>& indices) {
  if (indices.empty()) return at::empty(images.sizes(), at::kFloat);
  std::vector<at::Tensor> rows;
  for (std::size_t i = 0; i < indices.size(); ++i)
    rows.push_back(noised(images[static_cast<std::int64_t>(i)], codec, noise, seed, purpose,
                          static_cast<std::uint64_t>(indices[i])));
  return at::stack(rows);
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

at::Tensor sign_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                     const std::vector<std::int64_t>& indices) {
  std::vector<std::int64_t> sizes{static_cast<std::int64_t>(indices.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  at::Tensor signs = at::empty(sizes, at::kFloat);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    Draws draws(seed, purpose, static_cast<std::uint64_t>(indices[i]));
    at::Tensor row = signs[static_cast<std::int64_t>(i)];
    const std::span<float> values(row.data_ptr<float>(), static_cast<std::size_t>(row.numel()));
    for (float& value : values) value = draws.bits() & 1 ? 1.0f : -1.0f;
  }
  return signs;
}

at::Tensor rademacher_probes(std::int64_t count, const std::vector<std::int64_t>& shape, std::uint64_t seed,
                             const std::vector<std::int64_t>& rows) {
  std::vector<at::Tensor> probes;
  for (std::int64_t probe = 0; probe < count; ++probe) {
    std::vector<std::int64_t> indices;
    for (const std::int64_t row : rows) indices.push_back(row * count + probe);
    probes.push_back(sign_rows(shape, seed, Purpose::likelihood_probe, indices));
  }
  return at::stack(probes);
}

namespace {

/// In [0, 1), float32: rows of the shape of `images`.
at::Tensor uniform_rows(const at::Tensor& images, std::uint64_t seed, Purpose purpose,
                        const std::vector<std::int64_t>& indices) {
  at::Tensor u = at::empty(images.sizes(), at::kFloat);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    at::Tensor row = u[static_cast<std::int64_t>(i)];
    fill_uniform({row.data_ptr<float>(), static_cast<std::size_t>(row.numel())}, seed, purpose,
                 static_cast<std::uint64_t>(indices[i]));
  }
  return u;
}

}  // namespace

at::Tensor spread_over_levels(const at::Tensor& x, const Codec& codec, std::uint64_t seed, Purpose purpose,
                              const std::vector<std::int64_t>& indices) {
  return uniform_rows(x, seed, purpose, indices).sub_(0.5).div_(codec.levels()).add_(x);
}

at::Tensor dequantised(const at::Tensor& images, const Codec& codec, std::uint64_t seed,
                       const std::vector<std::int64_t>& rows, std::int64_t draw) {
  constexpr std::int64_t a_draw = std::int64_t{1} << 40;  // more than there are rows
  std::vector<std::int64_t> indices = rows;
  for (std::int64_t& index : indices) index += draw * a_draw;
  return codec.encode(
      uniform_rows(images, seed, Purpose::likelihood_noise, indices).add_(images.to(at::kFloat)).sub_(0.5));
}

at::Tensor student_bits(const at::Tensor& nats, std::int64_t values, const Codec& codec) {
  return nats / (-static_cast<double>(values) * std::numbers::ln2) + std::log2(codec.levels());
}

}  // namespace couplet
