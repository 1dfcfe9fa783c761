#include "method/metrics/inception_score.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {

InceptionScore::InceptionScore(std::int64_t samples, std::int64_t classes, std::int64_t splits) : samples_(samples) {
  if (splits < 1 || samples < splits || classes < 1)
    refuse("an inception score of {} samples over {} classes in {} splits: a split needs a sample", samples, classes,
           splits);
  sums_ = at::zeros({splits, classes}, at::kDouble);
  neg_entropy_ = at::zeros({splits}, at::kDouble);
}

void InceptionScore::add(const at::Tensor& logits) {
  if (logits.dim() != 2 || logits.size(1) != sums_.size(1) || added_ + logits.size(0) > samples_)
    fail("{} rows of {} class scores added to an inception score that has {} of its {} samples over {} classes",
         logits.size(0), logits.dim() == 2 ? logits.size(1) : 0, added_, samples_, sums_.size(1));
  const at::Tensor log_p = logits.to(at::kCPU, at::kDouble).log_softmax(1), p = log_p.exp();
  for (std::int64_t split = 0; split < splits(); ++split) {
    const std::int64_t begin = std::max(start(split), added_) - added_;
    const std::int64_t end = std::min(start(split + 1), added_ + p.size(0)) - added_;
    if (begin >= end) continue;
    const at::Tensor rows = p.slice(0, begin, end);
    sums_[split].add_(rows.sum(0));
    neg_entropy_[split].add_((rows * log_p.slice(0, begin, end)).sum());
  }
  added_ += p.size(0);
}

/// E KL = (Σ Σ_c p_c log p_c) / n - Σ_c q_c log q_c with q the mean of p.
at::Tensor InceptionScore::scores() const {
  if (added_ != samples_) fail("an inception score after {} of its {} samples", added_, samples_);
  at::Tensor scores = at::empty({splits()}, at::kDouble);
  for (std::int64_t split = 0; split < splits(); ++split) {
    const auto rows = static_cast<double>(start(split + 1) - start(split));
    const at::Tensor q = sums_[split] / rows;
    scores[split] = (neg_entropy_[split] / rows - at::xlogy(q, q).sum()).exp();
  }
  return scores;
}

double InceptionScore::mean() const {
  return scores().mean().item<double>();
}

double InceptionScore::deviation() const {
  return scores().std(/*unbiased=*/false).item<double>();
}

}  // namespace couplet
