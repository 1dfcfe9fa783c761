#include "method/scoring/described_images.h"

#include "method/metrics/numpy_random.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/slices.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t described_rows = 250;
constexpr std::int64_t score_splits = 10;
constexpr std::uint32_t drawing_seed = 2020;

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

at::Tensor even_rows(std::int64_t all, std::int64_t kept) {
  const std::int64_t rows = std::min(all, kept);
  return rows == 0 ? at::empty({0}, at::kLong) : at::arange(rows, at::kLong).mul_(all).div_(rows, "floor");
}

at::Tensor drawn_rows(std::int64_t all, std::int64_t kept) {
  if (kept >= all) return at::arange(all, at::kLong);
  const at::Tensor order = at::tensor(RandomState(drawing_seed).permutation(all), at::kLong);
  return std::get<0>(order.narrow(0, 0, kept).sort());
}

DescribedImages::DescribedImages(std::string what, const FeatureWidths& widths, std::int64_t images, at::Tensor kept)
    : what_(std::move(what)),
      widths_(widths),
      kept_(std::move(kept)),
      features_(at::empty({kept_.size(0), widths.features}, at::kFloat)),
      moments_(widths.features) {
  if (widths.spatial > 0) spatial_.emplace(widths.spatial);
  if (widths.classes > 0 && images >= score_splits) inception_.emplace(images, widths.classes, score_splits);
}

void DescribedImages::add(const at::Tensor& values) {
  require_finite(values.narrow(1, 0, widths_.features + widths_.spatial));
  const at::Tensor features = values.narrow(1, 0, widths_.features);
  moments_.add(features);
  if (spatial_) spatial_->add(values.narrow(1, widths_.features, widths_.spatial));
  if (inception_) inception_->add(values.narrow(1, widths_.features + widths_.spatial, widths_.classes));
  const auto kept_before = [&](std::int64_t row) { return kept_.lt(row).sum().item<std::int64_t>(); };
  const std::int64_t first = kept_before(added_), kept = kept_before(added_ + values.size(0)) - first;
  if (kept > 0) features_.narrow(0, first, kept).copy_(features.index_select(0, kept_.narrow(0, first, kept) - added_));
  added_ += values.size(0);
}

void DescribedImages::require_finite(const at::Tensor& values) const {
  const std::int64_t bad = values.isfinite().all(1).logical_not().sum().item<std::int64_t>();
  if (bad > 0)
    fail("{}: {} of the {} images from number {} on have features that are not finite", what_, bad, values.size(0),
         added_);
}

DescribedImages describe_images(FeatureNetwork& network, ImageSet& images, const at::Tensor& kept,
                                const std::string& stopped, Communicator& communicator) {
  const std::int64_t all = images.shape().images;
  const FeatureWidths widths = widths_of(network.describe(images.read(0, 1)));
  DescribedImages described(fmt::format("{}, described by {}", images.name(), network.name()), widths, all, kept);
  std::string failure;
  // A rank that fails still takes part, so that none waits for it.
  const auto make = [&](std::int64_t first) {
    const std::int64_t count = std::min(described_rows, all - first);
    try {
      if (failure.empty()) return joined(network.describe(images.read(first, count)), widths);
    } catch (const Error& error) {
      failure = error.what();
    }
    return at::zeros({count, widths.all()});
  };
  for_each_slice(
      communicator,
      {.rows = all, .slice_rows = described_rows, .columns = widths.all(), .stopped = stopped, .type = at::kFloat},
      make, [&](const at::Tensor& values) { described.add(values); });
  run_on_all(communicator, [&] {
    if (!failure.empty()) throw Error(failure);
  });
  return described;
}

}  // namespace couplet
