// What samples are made from: a noise for each sample index, and the condition that comes with it.
#pragma once

#include "method/data/condition.h"
#include "method/data/dataset.h"
#include "method/solvers/stochastic.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

struct InitialNoise {
  at::Tensor z;  ///< float32 [n, C, H, W], of unit variance
  Condition condition;

  InitialNoise to(const at::Device& device) const { return {z.to(device), condition.to(device)}; }
};

/// The initial noise of samples [first, first + count), on the CPU: z is a function of (seed, sample), and all models
/// share it. Labels follow the training set's class frequencies: sample i takes the class at the quantile
/// frac(i · 0.618…), so that every run of consecutive samples is spread over the classes.
InitialNoise fresh_noise(const DatasetShape& shape, std::uint64_t seed, std::int64_t first, std::int64_t count);
/// What stochastic solvers add on the way of samples from `first` on that start in `z`, in its shape and on its device:
/// a draw is a function of (seed, sample, number of the draw).
SolverNoise solver_noise(const at::Tensor& z, std::uint64_t seed, std::int64_t first);
/// The initial noise of a run's students: `fresh_noise`; where students are given a low resolution, the same noise with
/// the labels and low resolutions of held-out images [first, first + count), one sample an image, beyond the table's
/// end of its last.
InitialNoise student_noise(const DatasetShape& shape, const RowTable& held_out, std::uint64_t seed, std::int64_t first,
                           std::int64_t count);
/// The noise and label of rows [first, first + count) of a coupling table, noise divided by `sigma_f`, on the CPU. Rows
/// beyond the table's end repeat its last.
InitialNoise table_noise(const RowTable& table, double sigma_f, std::int64_t first, std::int64_t count);
/// Those of rows of these numbers, which do not descend.
InitialNoise table_noise(const RowTable& table, double sigma_f, const std::vector<std::int64_t>& numbers);

}  // namespace couplet
