#include "method/scoring/scorer.h"

#include "method/data/images.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/tensor/fitting_rows.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

namespace couplet {

namespace {

/// What stands behind a sample's features.
enum Extra : std::int64_t { right_class, finite, evaluations, extras };

void add_extras(SampleScore& score, const at::Tensor& columns) {
  const at::Tensor sums = columns.sum(0);
  const at::Tensor nfe = columns.select(1, evaluations);
  const auto least = nfe.min().item<std::int64_t>(), most = nfe.max().item<std::int64_t>();
  score.nfe_least = score.samples == 0 ? least : std::min(score.nfe_least, least);
  score.nfe_most = std::max(score.nfe_most, most);
  score.nfe_mean += sums[evaluations].item<double>();
  score.class_accuracy = score.class_accuracy.value_or(0) + sums[right_class].item<double>();
  score.nonfinite += columns.size(0) - sums[finite].item<std::int64_t>();
  score.samples += columns.size(0);
}

}  // namespace

Scorer::Scorer(std::optional<Classifier> classifier, std::shared_ptr<const Codec> codec, ScorerReference basis,
               std::int64_t slice_rows, std::int64_t pictures, std::string stopped, Communicator& communicator,
               c10::Device device)
    : classifier_(std::move(classifier)),
      codec_(std::move(codec)),
      basis_(std::move(basis)),
      slice_rows_(slice_rows),
      pictures_(pictures),
      stopped_(std::move(stopped)),
      communicator_(communicator),
      device_(device) {}

at::Tensor Scorer::pixels_of(const at::Tensor& images) const {
  return images.scalar_type() == at::kByte ? images : codec_->decode(images);
}

/// [rows, widths + extras]: what the network says, then what `Extra` names.
at::Tensor Scorer::describe(const at::Tensor& images, const at::Tensor& labels, std::int64_t nfe) {
  const at::Tensor is_finite = images.flatten(1).isfinite().all(1).to(at::kFloat).cpu();
  const at::Tensor pixels = pixels_of(images);
  at::Tensor described = at::empty({pixels.size(0), 0}), right = at::zeros_like(is_finite);
  if (classifier_) {
    described = fitting_rows(pixels.size(0), [&](std::int64_t first, std::int64_t count) {
      return (*classifier_)->features(to_float(pixels.narrow(0, first, count)).to(device_));
    });
    right = (*classifier_)->logits(described).argmax(1).cpu().eq(labels.cpu()).to(at::kFloat);
  }
  if (basis_.network) described = joined(basis_.network->describe(pixels), basis_.widths);
  if (basis_.points) described = images.flatten(1).nan_to_num(0, 0, 0);
  const at::Tensor made = at::full_like(right, static_cast<double>(nfe));
  return at::cat({described.to(at::kFloat).cpu(), at::stack({right, is_finite, made}, 1)}, 1);
}

std::vector<SampleScore> Scorer::score(const Generator& generate, std::size_t variants, std::int64_t samples,
                                       const SliceJournal& journal, std::int64_t figures) {
  const at::NoGradGuard no_grad;
  const std::int64_t described = basis_.points ? basis_.points->points.size(1) : basis_.widths.all();
  const std::int64_t width = described + extras + figures;
  const std::int64_t pictured = std::min({pictures_, slice_rows_, samples});
  std::vector<DescribedImages> images;
  for (std::size_t variant = 0; variant < variants && basis_.reference; ++variant)
    images.emplace_back(fmt::format("samples, described by {}", basis_.network ? basis_.network->name() : "classifier"),
                        basis_.widths, samples, drawn_rows(samples, basis_.compared_images));
  std::vector<SampleScore> scores(variants);
  std::vector<std::vector<at::Tensor>> points(variants);
  for (SampleScore& score : scores) score.figures = at::zeros({figures}, at::kDouble);
  // Every slice has slice_rows_ samples, so that each is computed in a batch of the same shape.
  const auto make = [&](std::int64_t first) {
    const Generated made = generate(first, slice_rows_);
    std::vector<at::Tensor> parts;
    for (std::size_t variant = 0; variant < variants; ++variant) {
      const at::Tensor& those = made.variants.at(variant);
      parts.push_back(describe(those, made.labels, made.nfe));
      if (figures > 0) parts.push_back(made.figures.to(at::kFloat).cpu());
      if (first > 0) continue;  // the first slice is the root's
      scores[variant].pictures = pixels_of(those.narrow(0, 0, pictured)).cpu();
    }
    return at::cat(parts, 1);
  };
  const auto add = [&](const at::Tensor& values) {
    for (std::size_t variant = 0; variant < variants; ++variant) {
      const at::Tensor part = values.narrow(1, static_cast<std::int64_t>(variant) * width, width);
      if (!images.empty()) {
        if (scores[variant].samples == 0)
          scores[variant].features =
              part.narrow(1, 0, basis_.widths.features).narrow(0, 0, pictured).to(at::kFloat, false, true);
        images[variant].add(part.narrow(1, 0, described));
      }
      if (basis_.points) points[variant].push_back(part.narrow(1, 0, described).to(at::kFloat));
      add_extras(scores[variant], part.narrow(1, described, extras));
      scores[variant].figures += part.narrow(1, described + extras, figures).to(at::kDouble).sum(0);
    }
  };
  for_each_slice(communicator_,
                 {.rows = samples,
                  .slice_rows = slice_rows_,
                  .columns = static_cast<std::int64_t>(variants) * width,
                  .stopped = stopped_,
                  .type = at::kFloat,
                  .journal = journal},
                 make, add);
  // The journal keeps no images: the first slice is made once more for its pictures.
  if (communicator_.is_root() && !scores.front().pictures.defined()) make(0);
  for (SampleScore& score : scores) finish(score);
  for (std::size_t variant = 0; variant < images.size(); ++variant) compare(scores[variant], images[variant]);
  for (std::size_t variant = 0; variant < variants && basis_.points; ++variant) {
    scores[variant].points = at::cat(points[variant]);
    compare_as_points(scores[variant]);
  }
  return scores;
}

void Scorer::finish(SampleScore& score) const {
  const auto count = static_cast<double>(score.samples);
  score.class_accuracy = classifier_ ? std::optional(*score.class_accuracy / count) : std::nullopt;
  score.nfe_mean /= count;
  score.figures /= count;
}

void Scorer::compare(SampleScore& score, const DescribedImages& images) {
  score.comparison = compare_features(images, *basis_.reference, communicator_);
  score.frechet_distance = score.comparison.front().value;
}

void Scorer::compare_as_points(SampleScore& score) {
  score.comparison = compare_points(score.points, *basis_.points, communicator_);
}

}  // namespace couplet
