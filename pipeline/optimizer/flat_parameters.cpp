#include "pipeline/optimizer/flat_parameters.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t alignment = 64;  // bytes of a cache line, at which vector kernels work best

std::int64_t rounded_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

struct Named {
  std::string name;
  at::Tensor parameter;
};

/// The trained parameters in the order of their registration.
std::vector<Named> trained_parameters(const torch::nn::Module& model) {
  std::vector<Named> trained;
  for (const auto& item : model.named_parameters()) {
    const at::Tensor& parameter = item.value();
    if (!parameter.requires_grad()) continue;
    if (!parameter.is_contiguous())
      fail("parameter {} is not contiguous: it has no place in a flat tensor", item.key());
    trained.push_back({item.key(), parameter});
    const at::Tensor& first = trained.front().parameter;
    if (parameter.scalar_type() != first.scalar_type() || parameter.device() != first.device()) {
      fail("parameter {} is {} on {}, {} is {} on {}: all trained parameters are of one type and on one device",
           item.key(), c10::toString(parameter.scalar_type()), parameter.device().str(), trained.front().name,
           c10::toString(first.scalar_type()), first.device().str());
    }
  }
  if (trained.empty()) fail("the model has no parameters to train");
  return trained;
}

/// A bucket being filled.
struct Filling {
  Bucket bucket;
  std::int64_t length = 0;       ///< elements so far
  std::size_t last_reached = 0;  ///< the smallest of its parameters' numbers in the order of registration
};

/// Deals the parameters out to buckets, first those that a backward pass is done with first.
std::vector<Filling> fill_buckets(const std::vector<Named>& trained, std::int64_t bytes) {
  const auto element = static_cast<std::int64_t>(trained.front().parameter.element_size());
  std::vector<Filling> filled;
  Filling others, decaying;
  decaying.bucket.decays = true;
  const auto close = [&](Filling& filling) {
    if (!filling.bucket.places.empty()) filled.push_back(filling);
    filling.bucket.places.clear();
    filling.length = 0;
  };
  for (std::size_t number = trained.size(); number-- > 0;) {
    const auto& [name, parameter] = trained[number];
    Filling& filling = parameter.dim() >= 2 ? decaying : others;
    const std::int64_t length = rounded_up(parameter.numel() * element, alignment) / element;
    if ((filling.length + length) * element > bytes) close(filling);
    filling.bucket.places.push_back({name, parameter, filling.length});
    filling.length += length;
    filling.last_reached = number;
  }
  close(decaying);
  close(others);
  std::ranges::stable_sort(filled, std::ranges::greater(), &Filling::last_reached);
  return filled;
}

at::Tensor view_of(const at::Tensor& flat, const Bucket::Place& place) {
  return flat.narrow(0, place.first, place.parameter.numel()).view(place.parameter.sizes());
}

/// Moves the parameters' values into the bucket and gives them gradients there.
void move_in(Bucket& bucket, std::int64_t length) {
  const auto options = bucket.places.front().parameter.options().requires_grad(false);
  bucket.values = at::zeros({length}, options);
  bucket.gradients = at::zeros({length}, options);
  for (auto& place : bucket.places) {
    const at::Tensor values = view_of(bucket.values, place);
    values.copy_(place.parameter);
    place.parameter.set_data(values);
    place.parameter.mutable_grad() = view_of(bucket.gradients, place);
  }
}

}  // namespace

std::int64_t bucket_bytes(double mebibytes, bool on_gpu) {
  const double suiting = on_gpu ? 25 : 4;
  return static_cast<std::int64_t>((mebibytes > 0 ? mebibytes : suiting) * 0x1p20);
}

FlatParameters::FlatParameters(const torch::nn::Module& model, const BucketSizes& sizes) {
  const at::NoGradGuard no_grad;
  const auto trained = trained_parameters(model);
  const auto element = static_cast<std::int64_t>(trained.front().parameter.element_size());
  for (auto& [bucket, length, last_reached] : fill_buckets(trained, sizes.bytes)) {
    move_in(bucket, rounded_up(length, sizes.parts * alignment / element));
    buckets_.push_back(std::move(bucket));
  }
}

FlatParameters::~FlatParameters() {
  for (auto& bucket : buckets_) {
    for (auto& place : bucket.places) place.parameter.mutable_grad() = at::Tensor();
  }
}

void FlatParameters::zero_gradients() {
  for (auto& bucket : buckets_) bucket.gradients.zero_();
}

NamedTensors FlatParameters::named(const std::vector<at::Tensor>& flat, const std::string& suffix) const {
  NamedTensors tensors;
  for (std::size_t i = 0; i < buckets_.size(); ++i) tensors.merge(named(buckets_[i], flat[i], suffix));
  return tensors;
}

NamedTensors FlatParameters::named(const Bucket& bucket, const at::Tensor& flat, const std::string& suffix) {
  NamedTensors tensors;
  for (const auto& place : bucket.places) tensors.emplace(place.name + suffix, view_of(flat, place));
  return tensors;
}

}  // namespace couplet
