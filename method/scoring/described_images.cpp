#include "method/scoring/described_images.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/slices.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t slice_rows = 250;
constexpr std::int64_t score_splits = 10;

std::int64_t width(const at::Tensor& values) {
  return values.defined() ? values.size(1) : 0;
}

}  // namespace

FeatureWidths widths_of(const ImageFeatures& made) {
  return {width(made.features), width(made.spatial), width(made.logits)};
}

at::Tensor joined(const ImageFeatures& made, const FeatureWidths& widths) {
  std::vector<at::Tensor> parts{made.features};
  if (widths.spatial > 0) parts.push_back(made.spatial);
  if (widths.classes > 0) parts.push_back(made.logits);
  return at::cat(parts, 1);
}

DescribedImages::DescribedImages(const FeatureWidths& widths, std::int64_t images, std::int64_t kept)
    : widths_(widths),
      features_(at::empty({std::min(kept, images), widths.features}, at::kFloat)),
      moments_(widths.features) {
  if (widths.spatial > 0) spatial_.emplace(widths.spatial);
  if (widths.classes > 0 && images >= score_splits) inception_.emplace(images, widths.classes, score_splits);
}

void DescribedImages::add(const at::Tensor& values) {
  const at::Tensor features = values.narrow(1, 0, widths_.features);
  moments_.add(features);
  if (spatial_) spatial_->add(values.narrow(1, widths_.features, widths_.spatial));
  if (inception_) inception_->add(values.narrow(1, widths_.features + widths_.spatial, widths_.classes));
  const std::int64_t kept = std::clamp<std::int64_t>(features_.size(0) - added_, 0, values.size(0));
  if (kept > 0) features_.narrow(0, added_, kept).copy_(features.narrow(0, 0, kept));
  added_ += values.size(0);
}

DescribedImages describe_images(FeatureNetwork& network, ImageSet& images, const std::string& stopped,
                                Communicator& communicator, std::optional<std::int64_t> kept) {
  const std::int64_t all = images.shape().images;
  const FeatureWidths widths = widths_of(network.describe(images.read(0, 1)));
  DescribedImages described(widths, all, kept.value_or(all));
  std::string failure;
  // A rank that fails still takes part, so that none waits for it.
  const auto make = [&](std::int64_t first) {
    const std::int64_t count = std::min(slice_rows, all - first);
    try {
      if (failure.empty()) return joined(network.describe(images.read(first, count)), widths);
    } catch (const Error& error) {
      failure = error.what();
    }
    return at::zeros({count, widths.all()});
  };
  for_each_slice(
      communicator,
      {.rows = all, .slice_rows = slice_rows, .columns = widths.all(), .stopped = stopped, .type = at::kFloat}, make,
      [&](const at::Tensor& values) { described.add(values); });
  run_on_all(communicator, [&] {
    if (!failure.empty()) throw Error(failure);
  });
  return described;
}

}  // namespace couplet
