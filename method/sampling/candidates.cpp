#include "method/sampling/candidates.h"

#include "method/data/noise.h"
#include "pipeline/tensor/random.h"

#include <ATen/ATen.h>

#include <limits>
#include <vector>

namespace couplet {
namespace {

/// The noises z of samples from `first` on, where each row takes its candidate of this number: its own, of number 0, or
/// one of the further ones.
at::Tensor candidates_of(const at::Tensor& z, std::uint64_t seed, std::int64_t first, const at::Tensor& numbers) {
  std::vector<std::int64_t> rows, indices;
  for (std::int64_t row = 0; row < z.size(0); ++row) {
    const std::int64_t number = numbers.data_ptr<std::int64_t>()[row];
    if (number == 0) continue;
    rows.push_back(row);
    indices.push_back((first + row) * most_candidates + number);
  }
  if (rows.empty()) return z;
  const at::Tensor further = normal_rows(z.sizes().slice(1).vec(), seed, Purpose::candidate_noise, indices);
  return z.index_copy(0, at::tensor(rows, at::kLong), further);
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
  const auto with = [&](const at::Tensor& numbers) { return candidates_of(initial.z, seed, first, numbers); };
  // One candidate of all rows at a time: those that are chosen are drawn again.
  std::vector<at::Tensor> ratios;
  for (std::int64_t k = 0; k < count; ++k)
    ratios.push_back(log_ratio(with(at::full({rows}, k, at::kLong)), initial.condition.labels).to(at::kDouble));
  initial.z = with(chosen_candidates(at::stack(ratios, 1), uniform_numbers(seed, first, rows)));
  return initial;
}

}  // namespace couplet
