#include "method/metrics/inception_score.h"

#include "method/metrics/numpy_random.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <vector>

namespace couplet {
namespace {

constexpr std::uint32_t permutation_seed = 2020;  ///< torch-fidelity's

/// The split of each sample: int64 [samples].
at::Tensor drawn_splits(std::int64_t samples, std::int64_t splits) {
  const std::vector<std::int64_t> order = RandomState(permutation_seed).permutation(samples);
  at::Tensor split_of = at::empty({samples}, at::kLong);
  auto* split_at = split_of.mutable_data_ptr<std::int64_t>();
  for (std::int64_t split = 0; split < splits; ++split)
    for (std::int64_t i = split * samples / splits; i < (split + 1) * samples / splits; ++i)
      split_at[order[static_cast<std::size_t>(i)]] = split;
  return split_of;
}

}  // namespace

InceptionScore::InceptionScore(std::int64_t samples, std::int64_t classes, std::int64_t splits) : samples_(samples) {
  if (splits < 1 || samples < splits || classes < 1)
    refuse("an inception score of {} samples over {} classes in {} splits: a split needs a sample", samples, classes,
           splits);
  split_of_ = drawn_splits(samples, splits);
  sums_ = at::zeros({splits, classes}, at::kDouble);
  neg_entropy_ = at::zeros({splits}, at::kDouble);
}

void InceptionScore::add(const at::Tensor& logits) {
  if (logits.dim() != 2 || logits.size(1) != sums_.size(1) || added_ + logits.size(0) > samples_)
    fail("{} rows of {} class scores added to an inception score that has {} of its {} samples over {} classes",
         logits.size(0), logits.dim() == 2 ? logits.size(1) : 0, added_, samples_, sums_.size(1));
  const at::Tensor log_p = logits.to(at::kCPU, at::kDouble).log_softmax(1), p = log_p.exp();
  const at::Tensor split_of = split_of_.narrow(0, added_, p.size(0));
  sums_.index_add_(0, split_of, p);
  neg_entropy_.index_add_(0, split_of, (p * log_p).sum(1));
  added_ += p.size(0);
}

/// E KL = (Σ Σ_c p_c log p_c) / n - Σ_c q_c log q_c with q the mean of p.
at::Tensor InceptionScore::scores() const {
  if (added_ != samples_) fail("an inception score after {} of its {} samples", added_, samples_);
  const at::Tensor rows = at::bincount(split_of_).to(at::kDouble);
  const at::Tensor q = sums_ / rows.unsqueeze(1);
  return (neg_entropy_ / rows - at::xlogy(q, q).sum(1)).exp();
}

double InceptionScore::mean() const {
  return scores().mean().item<double>();
}

double InceptionScore::deviation() const {
  return scores().std(/*unbiased=*/false).item<double>();
}

}  // namespace couplet
