#include "stages/images.h"

#include "pipeline/weights.h"
#include "storage/error.h"

#include <fmt/ranges.h>
#include <torch/torch.h>

namespace couplet {

DatasetShape dataset_shape(const RowTable& table) {
  const std::vector<std::int64_t>& image = table.columns().at(table.column("image")).shape;
  if (image.size() != 3 || image[1] != image[2]) {
    fail("{}: images of shape [{}]; the models take square images [channels, size, size]", table.path().string(),
         fmt::join(image, ", "));
  }
  const nlohmann::json& counts = table.summary().at("class_counts");
  return {image[0], image[1], static_cast<std::int64_t>(counts.size()), counts.get<std::vector<std::int64_t>>()};
}

at::Tensor to_float(const at::Tensor& image) {
  return image.to(torch::kFloat32).div_(127.5).sub_(1.0);
}

at::Tensor to_uint8(const at::Tensor& image) {
  return image.to(torch::kFloat32).add(1.0).mul_(127.5).nan_to_num_(0.0).clamp_(0.0, 255.0).round_().to(torch::kUInt8);
}

at::Tensor noise_picture(const at::Tensor& noise) {
  constexpr double darkest = 3;
  return to_uint8(noise.to(torch::kFloat32) / darkest);
}

Picture picture_of(const at::Tensor& images, std::int64_t columns) {
  const at::Tensor contiguous = images.contiguous();
  const auto* pixels = contiguous.data_ptr<std::uint8_t>();
  return picture_grid({pixels, pixels + contiguous.numel()}, images.size(0), images.size(1), images.size(2),
                      images.size(3), columns);
}

at::Tensor noised(const at::Tensor& image, const ImageNoise& noise, std::uint64_t seed, Purpose purpose,
                  std::uint64_t index) {
  at::Tensor draw = torch::empty(image.sizes(), torch::kFloat32);
  const std::span<float> values(draw.data_ptr<float>(), static_cast<std::size_t>(draw.numel()));
  if (noise.uniform) {
    fill_uniform(values, seed, purpose, index);
    return draw.add_(image.to(torch::kFloat32)).div_(128.0).sub_(1.0);
  }
  fill_normal(values, seed, purpose, index);
  return draw.mul_(noise.standard_deviation).add_(to_float(image));
}

at::Tensor noised_rows(const at::Tensor& images, const ImageNoise& noise, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices) {
  at::Tensor out = torch::empty(images.sizes(), torch::kFloat32);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    out[row].copy_(noised(images[row], noise, seed, purpose, static_cast<std::uint64_t>(indices[i])));
  }
  return out;
}

at::Tensor normal_rows(const std::vector<std::int64_t>& shape, std::uint64_t seed, Purpose purpose,
                       const std::vector<std::int64_t>& indices) {
  std::vector<std::int64_t> sizes{static_cast<std::int64_t>(indices.size())};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  at::Tensor out = torch::empty(sizes, torch::kFloat32);
  const std::size_t values = indices.empty() ? 0 : static_cast<std::size_t>(out.numel()) / indices.size();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    fill_normal({out.data_ptr<float>() + i * values, values}, seed, purpose, static_cast<std::uint64_t>(indices[i]));
  }
  return out;
}

at::Tensor read_rows(const RowTable& table, const std::string& column, std::int64_t first, std::int64_t count) {
  const std::size_t index = table.column(column);
  const Column& described = table.columns().at(index);
  std::vector<std::int64_t> sizes{count};
  sizes.insert(sizes.end(), described.shape.begin(), described.shape.end());
  at::Tensor out = torch::empty(sizes, scalar_type(described.type));
  table.read(index, first, count, {static_cast<std::byte*>(out.data_ptr()), static_cast<std::size_t>(out.nbytes())});
  return out;
}

}  // namespace couplet
