// Inception score (Salimans et al. 2016): how sure a classifier is of each sample, and how varied the classes are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// exp of the mean KL divergence of p(class | sample) from the split's mean p(class), in float64. Split i has the
/// samples [i n / splits, (i + 1) n / splits) of a permutation, the one that torch-fidelity draws: each split has
/// samples of all classes, also where these come in their order or in turn. Samples are added in their order; nothing
/// is kept of them but sums.
class InceptionScore {
public:
  /// `samples` samples will be added in all; fewer than splits are refused.
  InceptionScore(std::int64_t samples, std::int64_t classes, std::int64_t splits = 10);
  /// The next samples' class scores (logits) [rows, classes], of any floating type.
  void add(const at::Tensor& logits);

  std::int64_t splits() const { return sums_.size(0); }
  /// Mean and standard deviation over the splits (over their number). An error before all samples were added.
  double mean() const;
  double deviation() const;

private:
  at::Tensor scores() const;

  std::int64_t samples_, added_ = 0;
  at::Tensor split_of_;     ///< int64 [samples]
  at::Tensor sums_;         ///< [splits, classes]: Σ p
  at::Tensor neg_entropy_;  ///< [splits]: Σ Σ_c p_c log p_c
};

}  // namespace couplet
