// Samples that start from one of several noises, chosen by how likely the table's noise is there: sampling importance
// resampling from N(0, I) towards the table (LARS, arXiv 1810.11428, draws from a learnt ratio likewise).
#pragma once

#include "method/sampling/initial_noise.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace couplet {

/// log r(z | label), r = q/p up to a factor, of z [n, C, H, W] and labels [n] on the CPU: [n] there.
using LogRatio = std::function<at::Tensor(const at::Tensor& z, const at::Tensor& labels)>;

/// Which of each row's candidates is taken, int64 [n]: candidate k with probability ∝ exp(log_ratio[i, k]), by the
/// uniform numbers [n] in (0, 1), both float64. One that is not finite is not taken; a row without any other takes its
/// first.
at::Tensor chosen_candidates(const at::Tensor& log_ratio, const at::Tensor& uniform);

/// The same samples, which begin with sample `first`, each with one of `count` noises: its own, and count - 1 further
/// ones. Noises and choice are functions of (seed, sample, number of the candidate). One candidate is its own noise.
InitialNoise with_candidates(InitialNoise initial, std::int64_t count, std::uint64_t seed, std::int64_t first,
                             const LogRatio& log_ratio);

/// Candidates a sample has at most.
inline constexpr std::int64_t most_candidates = 1024;

}  // namespace couplet
