#include "method/statistics/crossing.h"

#include "pipeline/tensor/random.h"
#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

namespace couplet {
namespace {

constexpr std::int64_t most_neighbours = 10;
constexpr std::int64_t rows_compared_at_once = 256;  // at once
constexpr double time_parts = 5;
/// Added to the diagonal of the regressors' products, relative to its mean: values that never vary explain nothing.
constexpr double least_ridge = 1e-10;
/// The projections' seed is beyond every seed that a run may have (pipeline.seed is at most 2^53).
constexpr std::uint64_t projection_seed = (std::uint64_t{1} << 53) + 2;

/// What is known of x_t is an affine function of what is known of its two ends.
struct KnownEnds {
  at::Tensor image, noise;   ///< float32 [n, regressors]
  at::Tensor velocity;       ///< float32 [n, values]
  at::Tensor class_columns;  ///< float32 [n, classes], orthonormal: 1 / √(rows of the class) in its own rows
};

/// Normal numbers, float32 [values, regressors].
at::Tensor projections_of(std::int64_t values, std::int64_t regressors) {
  at::Tensor all = at::empty({values, regressors}, at::kFloat);
  for (std::int64_t i = 0; i < values; ++i)
    fill_normal({all.data_ptr<float>() + i * regressors, static_cast<std::size_t>(regressors)}, projection_seed,
                Purpose::evaluation_noise, static_cast<std::uint64_t>(i));
  return all / std::sqrt(static_cast<double>(values));
}

at::Tensor columns_of_classes(const ClassNumbers& classes) {
  const at::Tensor members = at::one_hot(classes.number, classes.count()).to(at::kFloat);
  return members / members.sum(0, true).sqrt();
}

/// L of L Lᵀ = `products`, positive semidefinite, with as little of a ridge as makes it definite; NaN where the values
/// are beyond what can be computed with.
at::Tensor cholesky_root(const at::Tensor& products) {
  const at::Tensor unit = at::eye(products.size(0), at::kDouble);
  const double mean = products.trace().item<double>() / static_cast<double>(products.size(0));
  for (double ridge = least_ridge; ridge < 1; ridge *= 100) {
    const auto [root, failed_at] =
        at::linalg_cholesky_ex(products + (ridge * mean + std::numeric_limits<double>::min()) * unit);
    if (failed_at.item<std::int64_t>() == 0) return root;
  }
  return at::full_like(products, std::numeric_limits<double>::quiet_NaN());
}

/// Orthonormal columns that span those of `regressors` [n, p] and of the classes: float32 [n, classes + p].
at::Tensor orthonormal_columns(const at::Tensor& regressors, const at::Tensor& class_columns) {
  const at::Tensor within = regressors - class_columns.matmul(class_columns.t().matmul(regressors));
  const at::Tensor exact = within.to(at::kDouble);
  const at::Tensor root = cholesky_root(exact.t().matmul(exact));
  const at::Tensor columns = at::linalg_solve_triangular(root, exact.t(), /*upper=*/false).t();
  return at::cat({class_columns, columns.to(at::kFloat)}, 1);
}

/// The numbers of the rows nearest to rows [first, first + count), themselves left out: int64 [count, neighbours].
at::Tensor nearest_on_the_way(const at::Tensor& rows, const at::Tensor& squares, std::int64_t first, std::int64_t count,
                              std::int64_t neighbours) {
  at::Tensor distances = squares - 2 * rows.narrow(0, first, count).matmul(rows.t());
  distances.diagonal(first).fill_(std::numeric_limits<float>::infinity());
  return std::get<1>(distances.topk(neighbours, 1, /*largest=*/false));
}

/// Rows [first, first + count) less the mean of each one's neighbours.
at::Tensor less_neighbours(const at::Tensor& rows, std::int64_t first, const at::Tensor& neighbours) {
  const at::Tensor others = rows.index_select(0, neighbours.flatten());
  return rows.narrow(0, first, neighbours.size(0)) - others.view({neighbours.size(0), neighbours.size(1), -1}).mean(1);
}

double squares_of(const at::Tensor& values) {
  return values.to(at::kDouble).square().sum().item<double>();
}

/// E‖v - E[v | x_t, label]‖², a row, on one thread.
double unexplained(const KnownEnds& ends, double t, std::int64_t neighbours) {
  const at::Tensor known = (1 - t) * ends.image + t * ends.noise;
  const at::Tensor columns = orthonormal_columns(known, ends.class_columns);
  const at::Tensor residuals = ends.velocity - columns.matmul(columns.t().matmul(ends.velocity));
  const at::Tensor squares = known.square().sum(1);
  const double alone = 1 + 1 / static_cast<double>(neighbours);
  double sum = 0, expected = 0;
  for (std::int64_t first = 0; first < known.size(0); first += rows_compared_at_once) {
    const std::int64_t count = std::min(rows_compared_at_once, known.size(0) - first);
    const at::Tensor nearest = nearest_on_the_way(known, squares, first, count, neighbours);
    sum += squares_of(less_neighbours(residuals, first, nearest));
    expected += alone * static_cast<double>(count) - squares_of(less_neighbours(columns, first, nearest));
  }
  return sum / expected;
}

}  // namespace

ClassNumbers::ClassNumbers(const at::Tensor& label) {
  const at::Tensor all = label.contiguous();
  const std::span<const std::int64_t> each(all.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(all.numel()));
  labels.assign(each.begin(), each.end());
  std::ranges::sort(labels);
  labels.erase(std::ranges::unique(labels).begin(), labels.end());
  number = at::empty_like(all);
  std::ranges::transform(each, number.data_ptr<std::int64_t>(),
                         [this](std::int64_t one) { return std::ranges::lower_bound(labels, one) - labels.begin(); });
}

Crossing measure_crossing(const at::Tensor& image, const at::Tensor& noise, const at::Tensor& label) {
  const at::NoGradGuard no_grad;
  const ClassNumbers classes(label);
  const std::int64_t rows = image.size(0), values = image.size(1);
  Crossing crossing;
  crossing.regressors = std::min(values, (rows - classes.count()) / 2);
  crossing.projected_from = crossing.regressors < values ? values : 0;
  crossing.neighbours = std::min(most_neighbours, rows - 1);
  for (double part = 0; part < time_parts; ++part) crossing.times.push_back((part + 0.5) / time_parts);
  crossing.at_times.assign(crossing.times.size(), std::numeric_limits<double>::quiet_NaN());
  crossing.share = std::numeric_limits<double>::quiet_NaN();
  if (crossing.regressors < 1) return crossing;

  KnownEnds ends{image, noise, noise - image, columns_of_classes(classes)};
  double cost = 0;
  each_on_one_thread(1, at::kCPU, [&](std::int64_t) {
    cost = squares_of(ends.velocity) / static_cast<double>(rows);
    if (crossing.projected_from == 0) return;
    const at::Tensor projections = projections_of(values, crossing.regressors);
    ends.image = image.matmul(projections);
    ends.noise = noise.matmul(projections);
  });
  each_on_one_thread(std::ssize(crossing.times), at::kCPU, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    crossing.at_times[at] = unexplained(ends, crossing.times[at], crossing.neighbours) / cost;
  });
  crossing.share = std::accumulate(crossing.at_times.begin(), crossing.at_times.end(), 0.0) / time_parts;
  return crossing;
}

}  // namespace couplet
