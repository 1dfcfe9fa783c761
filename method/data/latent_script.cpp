#include "method/data/latent_script.h"

#include "method/data/images.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/torch_script.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace couplet {
namespace {

/// Pixels that are computed at once, on a thread and on a GPU. Large autoencoders hold some kilobytes a pixel.
constexpr std::int64_t pixels_a_thread = usual_chunk_rows * 64 * 64, pixels_a_gpu = 16 * 256 * 256;
constexpr double rows_tolerance = 1e-3;  ///< relative: sizes of a batch may change the last digits

/// The results of work over n rows, some at a time: the larger images are, the fewer. Always the same rows together.
at::Tensor in_chunks(std::int64_t n, std::int64_t pixels, c10::Device device,
                     const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& work) {
  const std::int64_t at_once = (device.is_cpu() ? pixels_a_thread : pixels_a_gpu) / std::max<std::int64_t>(pixels, 1);
  const std::int64_t chunk = std::max<std::int64_t>(at_once, 1);
  if (device.is_cpu()) return by_row_chunks(n, device, work, std::min(chunk, usual_chunk_rows));
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < n; first += chunk) parts.push_back(work(first, std::min(chunk, n - first)));
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

/// False where rows differ by more than rounding.
bool are_close(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() <= rows_tolerance * a.norm().item<double>();
}

std::string shape_text(at::IntArrayRef sizes) {
  return fmt::format("[{}]", fmt::join(sizes, ", "));
}

}  // namespace

LatentScript::LatentScript(std::filesystem::path path, std::string pixel_range, c10::Device device)
    : path_(std::move(path)),
      is_unit_(pixel_range == unit_pixels),
      device_(device),
      program_(load_script(path_, {"encode", "decode"}, device)) {}

at::Tensor LatentScript::call(const char* method, const at::Tensor& input) const {
  // Unoptimised: the optimiser learns from the first calls, whose digits would differ from later ones'.
  const torch::jit::GraphOptimizerEnabledGuard as_written(false);
  c10::IValue made;
  try {
    made = program_.get_method(method)({input});
  } catch (const std::exception& error) {
    refuse("{}: its method {} fails on {}: {}", path_.string(), method, shape_text(input.sizes()), script_error(error));
  }
  if (!made.isTensor())
    refuse("{}: its method {} returns {}; expected a tensor", path_.string(), method, made.tagKind());
  const at::Tensor tensor = made.toTensor();
  if (tensor.dim() != 4 || tensor.size(0) != input.size(0) || !tensor.is_floating_point())
    refuse("{}: its method {} returns {} {} for {}; expected floating-point numbers of 4 axes, one row a row",
           path_.string(), method, at::toString(tensor.scalar_type()), shape_text(tensor.sizes()),
           shape_text(input.sizes()));
  return tensor.to(at::kFloat);
}

at::Tensor LatentScript::input_of(const at::Tensor& pixels) const {
  const at::Tensor x = to_float(pixels.to(device_));
  return is_unit_ ? x.add(1).div_(2) : x;
}

void LatentScript::require_rows_of_their_own(const at::Tensor& image) const {
  const at::NoGradGuard no_grad;
  const at::Tensor three = input_of(at::cat({image, 255 - image, image.flip({2})}));
  const at::Tensor encoded = call("encode", three), alone = call("encode", three.narrow(0, 0, 1));
  if (!call("encode", three).equal(encoded))
    refuse(
        "{}: encode gives other latents each time; it has to give means and deviations, from which samples are drawn "
        "later",
        path_.string());
  const at::Tensor means = encoded.narrow(1, 0, encoded.size(1) / 2);
  const bool are_their_own =
      are_close(alone[0], encoded[0]) && are_close(call("decode", means.narrow(0, 0, 1))[0], call("decode", means)[0]);
  if (!are_their_own) refuse("{}: what it makes of an image depends on the other images of its batch", path_.string());
}

at::Tensor LatentScript::encode(const at::Tensor& pixels) const {
  const at::NoGradGuard no_grad;
  return in_chunks(
      pixels.size(0), pixels.size(2) * pixels.size(3), device_,
      [&](std::int64_t first, std::int64_t count) { return call("encode", input_of(pixels.narrow(0, first, count))); });
}

at::Tensor LatentScript::decode(const at::Tensor& latents) const {
  const at::NoGradGuard no_grad;
  const at::Tensor there = latents.to(device_, at::kFloat);
  // Images have some 64 pixels a latent's place.
  return in_chunks(there.size(0), 64 * there.size(2) * there.size(3), device_,
                   [&](std::int64_t first, std::int64_t count) {
                     const at::Tensor x = call("decode", there.narrow(0, first, count));
                     return to_uint8(is_unit_ ? x.mul(2).sub_(1) : x);
                   });
}

std::vector<std::int64_t> LatentScript::latent_shape(const std::vector<std::int64_t>& pixel_shape) const {
  const std::int64_t channels = pixel_shape.at(0), height = pixel_shape.at(1), width = pixel_shape.at(2);
  // All grey values, so that a deviation below 0 shows.
  const at::Tensor image =
      at::arange(channels * height * width).remainder(256).to(at::kByte).view({1, channels, height, width});
  const at::Tensor made = encode(image).cpu();
  if (made.size(1) % 2 != 0)
    refuse(
        "{}: encode returns {} for an image of {}; expected twice the channels of a latent: the means, then the "
        "standard deviations (zeros where there are none)",
        path_.string(), shape_text(made.sizes()), shape_text(pixel_shape));
  if (!made.isfinite().all().item<bool>())
    refuse("{}: encode gives NaN or infinite latents; latents.range says what pixels it takes", path_.string());
  const at::Tensor mean = made.narrow(1, 0, made.size(1) / 2), deviation = made.narrow(1, mean.size(1), mean.size(1));
  if (deviation.lt(0).any().item<bool>())
    refuse(
        "{}: the second half of what encode returns has values below 0; expected standard deviations, exp(0.5 · "
        "log-variance)",
        path_.string());
  const at::Tensor back = decode(mean);
  if (back.sizes().slice(1) != at::IntArrayRef(pixel_shape))
    refuse("{}: decode returns {} for latents of {}; expected one image of {}", path_.string(),
           shape_text(back.sizes()), shape_text(mean.sizes()), shape_text(pixel_shape));
  require_rows_of_their_own(image);
  if (mean.size(2) != mean.size(3))
    refuse("{}: encode gives latents of {}; the models take square ones", path_.string(), shape_text(mean.sizes()));
  return mean.sizes().slice(1).vec();
}

std::vector<std::int64_t> LatentScript::pixel_shape(const std::vector<std::int64_t>& latent_shape) const {
  const at::Tensor made = decode(at::zeros({1, latent_shape.at(0), latent_shape.at(1), latent_shape.at(2)}));
  if ((made.size(1) != 1 && made.size(1) != 3) || made.size(2) != made.size(3))
    refuse("{}: decode returns {} for latents of {}; expected one square image of 1 or 3 channels", path_.string(),
           shape_text(made.sizes()), shape_text(latent_shape));
  return made.sizes().slice(1).vec();
}

}  // namespace couplet
