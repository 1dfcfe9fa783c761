#include "method/sampling/initial_noise.h"

#include "method/data/noise.h"
#include "pipeline/loader/table_rows.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace couplet {
namespace {

std::int64_t class_at(const DatasetShape& shape, double quantile) {
  const auto rows =
      static_cast<double>(std::accumulate(shape.class_counts.begin(), shape.class_counts.end(), std::int64_t{0}));
  double below = 0;
  for (std::size_t label = 0; label < shape.class_counts.size(); ++label) {
    below += static_cast<double>(shape.class_counts[label]);
    if (quantile * rows < below) return static_cast<std::int64_t>(label);
  }
  return shape.labels() - 1;
}

}  // namespace

InitialNoise fresh_noise(const DatasetShape& shape, std::uint64_t seed, std::int64_t first, std::int64_t count) {
  constexpr double golden = 0.61803398874989485;
  std::vector<std::int64_t> indices(static_cast<std::size_t>(count)), labels;
  std::iota(indices.begin(), indices.end(), first);
  for (const std::int64_t index : indices) {
    const double turn = (static_cast<double>(index) + 0.5) * golden;
    labels.push_back(class_at(shape, turn - std::floor(turn)));
  }
  return {normal_rows({shape.channels, shape.size, shape.size}, seed, Purpose::evaluation_noise, indices),
          {at::tensor(labels, at::kLong), {}}};
}

SolverNoise solver_noise(const at::Tensor& z, std::uint64_t seed, std::int64_t first) {
  return [sizes = z.sizes().vec(), options = z.options(), seed, first](std::int64_t draw) {
    if (draw >= most_draws) fail("a stochastic solver asks for draw {} of at most {}", draw, most_draws);
    std::vector<std::int64_t> indices;
    for (std::int64_t sample = first; sample < first + sizes.front(); ++sample)
      indices.push_back(sample * most_draws + draw);
    return normal_rows({sizes.begin() + 1, sizes.end()}, seed, Purpose::solver_noise, indices).to(options);
  };
}

InitialNoise student_noise(const DatasetShape& shape, const RowTable& held_out, std::uint64_t seed, std::int64_t first,
                           std::int64_t count) {
  InitialNoise initial = fresh_noise(shape, seed, first, count);
  if (!shape.low_resolution.is_given()) return initial;
  std::vector<std::int64_t> numbers;
  for (std::int64_t row = first; row < first + count; ++row) numbers.push_back(std::min(row, held_out.rows() - 1));
  const at::Tensor images = shape.codec->encode(read_numbered_rows(held_out, "image", numbers));
  initial.condition = shape.condition(images, read_numbered_rows(held_out, "label", numbers).to(at::kLong));
  return initial;
}

InitialNoise table_noise(const RowTable& table, double sigma_f, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t row = first; row < first + count; ++row) numbers.push_back(std::min(row, table.rows() - 1));
  return table_noise(table, sigma_f, numbers);
}

InitialNoise table_noise(const RowTable& table, double sigma_f, const std::vector<std::int64_t>& numbers) {
  return {read_numbered_rows(table, "noise", numbers).to(at::kFloat).div_(sigma_f),
          {read_numbered_rows(table, "label", numbers).to(at::kLong), {}}};
}

}  // namespace couplet
