#include "method/features/feature_network.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/files/hash.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace couplet {
namespace {

/// While it lives, this thread computes without autocast and gradients, and the process without TF32 and with cuDNN's
/// repeatable algorithms.
class FullPrecision {
public:
  FullPrecision() : convolution_(context_.float32Precision(cuda, convolution)) {
    context_.setFloat32Precision(cuda, convolution, at::Float32Precision::IEEE);
    context_.setDeterministicCuDNN(true);
  }
  ~FullPrecision() {
    context_.setFloat32Precision(cuda, convolution, convolution_);
    context_.setDeterministicCuDNN(deterministic_);
  }
  FullPrecision(const FullPrecision&) = delete;
  FullPrecision& operator=(const FullPrecision&) = delete;

private:
  static constexpr auto cuda = at::Float32Backend::CUDA;
  static constexpr auto convolution = at::Float32Op::CONV;
  at::Context& context_ = at::globalContext();
  at::Float32Precision convolution_;
  bool deterministic_ = context_.deterministicCuDNN();
  at::NoTF32Guard products_;
  c10::impl::ExcludeDispatchKeyGuard autocast_{c10::autocast_dispatch_keyset};
  at::NoGradGuard gradients_;
};

/// The first `count` rows on the CPU, as float32; undefined stays undefined.
at::Tensor host_rows(const at::Tensor& values, std::int64_t count) {
  return values.defined() ? values.narrow(0, 0, count).to(at::kCPU, at::kFloat).contiguous() : values;
}

at::Tensor joined(const std::vector<ImageFeatures>& parts, at::Tensor ImageFeatures::*member) {
  std::vector<at::Tensor> tensors;
  for (const ImageFeatures& part : parts) tensors.push_back(part.*member);
  return tensors.front().defined() ? at::cat(tensors) : at::Tensor();
}

}  // namespace

ImageFeatures describe_in_batches(const at::Tensor& images, std::int64_t batch, c10::Device device,
                                  const std::function<ImageFeatures(const at::Tensor&)>& network) {
  if (images.dim() != 4 || images.scalar_type() != at::kByte || images.size(0) < 1)
    fail("images to describe are {} [{}]; expected uint8 [n, C, H, W]", at::toString(images.scalar_type()),
         fmt::join(images.sizes(), ", "));
  const FullPrecision full_precision;
  std::vector<ImageFeatures> parts(static_cast<std::size_t>((images.size(0) + batch - 1) / batch));
  each_on_one_thread(std::ssize(parts), device, [&](std::int64_t i) {
    const std::int64_t first = i * batch, count = std::min(batch, images.size(0) - first);
    at::Tensor rows = images.narrow(0, first, count);
    if (count < batch) rows = at::constant_pad_nd(rows, {0, 0, 0, 0, 0, 0, 0, batch - count});
    note_progress();
    const ImageFeatures made = network(rows.contiguous());
    parts[static_cast<std::size_t>(i)] = {host_rows(made.features, count), host_rows(made.logits, count),
                                          host_rows(made.spatial, count)};
  });
  return {joined(parts, &ImageFeatures::features), joined(parts, &ImageFeatures::logits),
          joined(parts, &ImageFeatures::spatial)};
}

std::set<std::string> weight_hashes(const std::vector<at::Tensor>& tensors) {
  std::set<std::string> hashes;
  for (const at::Tensor& tensor : tensors)
    if (tensor.is_floating_point() && tensor.dim() > 1) hashes.insert(tensors_hash({{"", tensor.to(at::kFloat)}}));
  return hashes;
}

bool share_weights(const std::set<std::string>& one, const std::set<std::string>& other) {
  const auto shared = std::ranges::count_if(one, [&](const std::string& hash) { return other.contains(hash); });
  return shared > 0 && 2 * shared >= std::min(std::ssize(one), std::ssize(other));
}

at::Tensor as_rgb(const at::Tensor& images) {
  return images.size(1) == 1 ? images.expand({-1, 3, -1, -1}) : images;
}

}  // namespace couplet
