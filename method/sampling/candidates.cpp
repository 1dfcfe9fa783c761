#include "method/sampling/candidates.h"

#include "method/data/noise.h"
#include "pipeline/tensor/random.h"

#include <ATen/ATen.h>

#include <limits>
#include <vector>

namespace couplet {
namespace {

/// Candidate k of samples [first, first + count), k from 1 on.
at::Tensor further_noise(const at::Tensor& z, std::uint64_t seed, std::int64_t first, std::int64_t candidate) {
  std::vector<std::int64_t> indices;
  for (std::int64_t sample = first; sample < first + z.size(0); ++sample)
    indices.push_back(sample * most_candidates + candidate);
  return normal_rows(z.sizes().slice(1).vec(), seed, Purpose::candidate_noise, indices);
}

at::Tensor uniform_numbers(std::uint64_t seed, std::int64_t first, std::int64_t count) {
  at::Tensor numbers = at::empty({count}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i)
    numbers.data_ptr<double>()[i] =
        Draws(seed, Purpose::candidate_choice, static_cast<std::uint64_t>(first + i)).uniform();
  return numbers;
}

}  // namespace

at::Tensor chosen_candidates(const at::Tensor& log_ratio, const at::Tensor& uniform) {
  const at::Tensor usable =
      at::where(log_ratio.isfinite(), log_ratio, at::full_like(log_ratio, -std::numeric_limits<double>::infinity()));
  const at::Tensor largest = usable.amax(1, /*keepdim=*/true);
  const at::Tensor weights = (usable - at::where(largest.isfinite(), largest, at::zeros_like(largest))).exp();
  const at::Tensor up_to = weights.cumsum(1);
  // The first candidate whose sum of weights passes the row's share of the whole.
  const at::Tensor passed = up_to > uniform.unsqueeze(1) * up_to.select(1, -1).unsqueeze(1);
  return passed.to(at::kByte).argmax(1);
}

InitialNoise with_candidates(InitialNoise initial, std::int64_t count, std::uint64_t seed, std::int64_t first,
                             const LogRatio& log_ratio) {
  if (count == 1) return initial;
  const std::int64_t rows = initial.z.size(0);
  std::vector<at::Tensor> candidates{initial.z}, ratios;
  for (std::int64_t k = 1; k < count; ++k) candidates.push_back(further_noise(initial.z, seed, first, k));
  for (const at::Tensor& z : candidates) ratios.push_back(log_ratio(z, initial.condition.labels).to(at::kDouble));
  const at::Tensor chosen = chosen_candidates(at::stack(ratios, 1), uniform_numbers(seed, first, rows));
  initial.z = at::stack(candidates, 1).index({at::arange(rows), chosen});
  return initial;
}

}  // namespace couplet
