#include "stages/evaluate/described_images.h"

#include "pipeline/slices.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

namespace couplet {
namespace {

constexpr std::int64_t slice_rows = 250;
constexpr std::int64_t score_splits = 10;

/// [n, dimension + spatial dimension + classes]
at::Tensor joined(const ImageFeatures& made) {
  std::vector<at::Tensor> parts{made.features};
  if (made.spatial.defined()) parts.push_back(made.spatial);
  if (made.logits.defined()) parts.push_back(made.logits);
  return at::cat(parts, 1);
}

std::int64_t width(const at::Tensor& values) {
  return values.defined() ? values.size(1) : 0;
}

/// All ranks throw the first rank's error, if one has any.
void agree_on_failure(Communicator& communicator, const std::string& mine) {
  for (const std::string& text : communicator.gather_text(mine))
    if (!text.empty()) throw Error(text);
}

}  // namespace

DescribedImages describe_images(FeatureNetwork& network, ImageSet& images, Communicator& communicator) {
  const std::int64_t all = images.shape().images;
  const ImageFeatures one = network.describe(images.read(0, 1));
  const std::int64_t dimension = width(one.features), spatial = width(one.spatial), classes = width(one.logits);
  DescribedImages described{.features = at::empty({all, dimension}, at::kFloat),
                            .moments = Moments(dimension),
                            .spatial = std::nullopt,
                            .inception = std::nullopt};
  if (spatial > 0) described.spatial.emplace(spatial);
  if (classes > 0 && all >= score_splits) described.inception.emplace(all, classes, score_splits);
  std::string failure;
  std::int64_t done = 0;
  // A rank that fails still takes part, so that none waits for it.
  const auto make = [&](std::int64_t first) {
    const std::int64_t count = std::min(slice_rows, all - first);
    try {
      if (failure.empty()) return joined(network.describe(images.read(first, count)));
    } catch (const Error& error) {
      failure = error.what();
    }
    return at::zeros({count, dimension + spatial + classes});
  };
  const auto add = [&](const at::Tensor& values) {
    const at::Tensor features = values.narrow(1, 0, dimension);
    described.features.narrow(0, done, values.size(0)).copy_(features);
    described.moments.add(features);
    if (described.spatial) described.spatial->add(values.narrow(1, dimension, spatial));
    if (described.inception) described.inception->add(values.narrow(1, dimension + spatial, classes));
    done += values.size(0);
  };
  for_each_slice(communicator,
                 {.rows = all, .slice_rows = slice_rows, .columns = dimension + spatial + classes, .stopped = ""}, make,
                 add);
  agree_on_failure(communicator, failure);
  return described;
}

}  // namespace couplet
