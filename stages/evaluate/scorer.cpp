#include "stages/evaluate/scorer.h"

#include "pipeline/interruption.h"

#include <torch/torch.h>

namespace couplet {

Scorer::Scorer(Classifier classifier, Moments reference, std::int64_t slice_rows, std::int64_t pictures,
               Communicator& communicator, c10::Device device)
    : classifier_(std::move(classifier)),
      reference_(std::move(reference)),
      slice_rows_(slice_rows),
      pictures_(pictures),
      communicator_(communicator),
      device_(device) {}

/// [rows, dimension + 2]: features, whether the class is the one asked for, whether the sample was finite.
at::Tensor Scorer::describe(const at::Tensor& images, const at::Tensor& labels) {
  const at::Tensor finite = images.flatten(1).isfinite().all(1).to(torch::kFloat32).cpu();
  const at::Tensor features = classifier_->features(to_float(to_uint8(images)).to(device_));
  const at::Tensor right = classifier_->logits(features).argmax(1).cpu().eq(labels.cpu()).to(torch::kFloat32);
  return torch::cat({features.to(torch::kFloat32).cpu(), right.unsqueeze(1), finite.unsqueeze(1)}, 1);
}

std::vector<SampleScore> Scorer::score(const Generator& generate, std::size_t variants, std::int64_t samples) {
  const torch::NoGradGuard no_grad;
  const std::int64_t dimension = reference_.dimension(), size = communicator_.size();
  std::vector<Moments> moments(variants, Moments(dimension));
  for (Moments& each : moments) each = Moments(dimension);  // copies of a Moments would share its tensors
  std::vector<SampleScore> scores(variants);
  for (std::int64_t round = 0; round < samples; round += slice_rows_ * size) {
    if (agree_to_stop(communicator_)) throw Interrupted("evaluation stopped; finished scores are kept");
    // Every slice has slice_rows_ samples, so that each is computed in a batch of the same shape; those beyond
    // `samples` are not counted.
    const std::int64_t first = round + slice_rows_ * communicator_.rank();
    Generated mine;
    if (first < samples) mine = generate(first, slice_rows_);
    for (std::size_t variant = 0; variant < variants; ++variant) {
      SampleScore& score = scores[variant];
      at::Tensor described = torch::zeros({slice_rows_, dimension + 2});
      if (first < samples) described = describe(mine.variants.at(variant), mine.labels);
      const at::Tensor all = communicator_.all_gather(described);
      for (std::int64_t slice = 0; slice < size; ++slice) {
        const std::int64_t rows = std::min(slice_rows_, samples - round - slice * slice_rows_);
        if (rows <= 0) break;
        const at::Tensor part = all[slice].narrow(0, 0, rows);
        moments[variant].add(part.narrow(1, 0, dimension).contiguous());
        score.class_accuracy += part.select(1, dimension).sum().item<double>();
        score.nonfinite += rows - static_cast<std::int64_t>(part.select(1, dimension + 1).sum().item<double>());
        score.samples += rows;
      }
      if (round == 0 && communicator_.is_root()) {
        score.pictures =
            to_uint8(mine.variants[variant].narrow(0, 0, std::min({pictures_, slice_rows_, samples}))).cpu();
      }
    }
  }
  for (std::size_t variant = 0; variant < variants; ++variant) {
    scores[variant].class_accuracy /= static_cast<double>(scores[variant].samples);
    scores[variant].frechet_distance = frechet_distance(moments[variant], reference_);
  }
  return scores;
}

}  // namespace couplet
