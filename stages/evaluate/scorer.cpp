#include "stages/evaluate/scorer.h"

#include "pipeline/slices.h"

#include <torch/torch.h>

namespace couplet {

Scorer::Scorer(Classifier classifier, Moments reference, std::int64_t slice_rows, std::int64_t pictures,
               std::string stopped, Communicator& communicator, c10::Device device,
               std::shared_ptr<FeatureNetwork> network)
    : classifier_(std::move(classifier)),
      reference_(std::move(reference)),
      slice_rows_(slice_rows),
      pictures_(pictures),
      stopped_(std::move(stopped)),
      communicator_(communicator),
      device_(device),
      network_(std::move(network)) {}

/// [rows, dimension + 2]: features, whether the class is the one asked for, whether the sample was finite.
at::Tensor Scorer::describe(const at::Tensor& images, const at::Tensor& labels) {
  const at::Tensor finite = images.flatten(1).isfinite().all(1).to(torch::kFloat32).cpu();
  const at::Tensor pixels = to_uint8(images);
  at::Tensor features = classifier_->features(to_float(pixels).to(device_));
  const at::Tensor right = classifier_->logits(features).argmax(1).cpu().eq(labels.cpu()).to(torch::kFloat32);
  if (network_) features = network_->describe(pixels).features;
  return torch::cat({features.to(torch::kFloat32).cpu(), right.unsqueeze(1), finite.unsqueeze(1)}, 1);
}

std::vector<SampleScore> Scorer::score(const Generator& generate, std::size_t variants, std::int64_t samples) {
  const torch::NoGradGuard no_grad;
  const std::int64_t dimension = reference_.dimension(), width = dimension + 2;
  std::vector<Moments> moments;
  for (std::size_t variant = 0; variant < variants; ++variant) moments.emplace_back(dimension);
  std::vector<SampleScore> scores(variants);
  // Every slice has slice_rows_ samples, so that each is computed in a batch of the same shape.
  const auto make = [&](std::int64_t first) {
    const Generated made = generate(first, slice_rows_);
    std::vector<at::Tensor> described;
    for (std::size_t variant = 0; variant < variants; ++variant) {
      const at::Tensor& images = made.variants.at(variant);
      described.push_back(describe(images, made.labels));
      if (first > 0) continue;  // the first slice is the root's
      scores[variant].pictures = to_uint8(images.narrow(0, 0, std::min({pictures_, slice_rows_, samples}))).cpu();
    }
    return torch::cat(described, 1);
  };
  const auto add = [&](const at::Tensor& values) {
    for (std::size_t variant = 0; variant < variants; ++variant) {
      const at::Tensor part = values.narrow(1, static_cast<std::int64_t>(variant) * width, width);
      moments[variant].add(part.narrow(1, 0, dimension));
      SampleScore& score = scores[variant];
      score.class_accuracy += part.select(1, dimension).sum().item<double>();
      score.nonfinite += part.size(0) - static_cast<std::int64_t>(part.select(1, dimension + 1).sum().item<double>());
      score.samples += part.size(0);
    }
  };
  for_each_slice(communicator_,
                 {.rows = samples,
                  .slice_rows = slice_rows_,
                  .columns = static_cast<std::int64_t>(variants) * width,
                  .stopped = stopped_},
                 make, add);
  for (std::size_t variant = 0; variant < variants; ++variant) {
    scores[variant].class_accuracy /= static_cast<double>(scores[variant].samples);
    scores[variant].frechet_distance = frechet_distance(moments[variant], reference_);
  }
  return scores;
}

}  // namespace couplet
