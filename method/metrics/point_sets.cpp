#include "method/metrics/point_sets.h"

#include "method/transport/assignment.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace couplet {
namespace {

void check_point_sets(const at::Tensor& a, const at::Tensor& b, std::int64_t fewest) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1) || std::min(a.size(0), b.size(0)) < fewest)
    refuse("sets of points [{}] and [{}]: expected two of one dimension, with at least {} points each",
           fmt::join(a.sizes(), ", "), fmt::join(b.sizes(), ", "), fewest);
}

/// The sum of the distances from each row to each row. In parts: not all of them are held at once.
double sum_of_distances(const at::Tensor& a, const at::Tensor& b) {
  constexpr std::int64_t rows_at_once = 256;
  double sum = 0;
  for (std::int64_t first = 0; first < a.size(0); first += rows_at_once) {
    const at::Tensor rows = a.narrow(0, first, std::min(rows_at_once, a.size(0) - first));
    sum += (rows.unsqueeze(1) - b.unsqueeze(0)).square().sum(2).sqrt().sum().item<double>();
  }
  return sum;
}

}  // namespace

double energy_distance(const at::Tensor& a, const at::Tensor& b) {
  check_point_sets(a, b, 2);
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  const auto n = static_cast<double>(x.size(0)), m = static_cast<double>(y.size(0));
  return 2 * sum_of_distances(x, y) / (n * m) - sum_of_distances(x, x) / (n * (n - 1)) -
         sum_of_distances(y, y) / (m * (m - 1));
}

double wasserstein_distance(const at::Tensor& a, const at::Tensor& b) {
  check_point_sets(a, b, 1);
  const std::int64_t n = a.size(0);
  if (b.size(0) != n) refuse("sets of {} and {} points: expected equally many", n, b.size(0));
  const at::Tensor cost =
      (a.to(at::kDouble).unsqueeze(1) - b.to(at::kDouble).unsqueeze(0)).square().sum(2).contiguous();
  const std::span<const double> all(cost.const_data_ptr<double>(), static_cast<std::size_t>(n * n));
  return std::sqrt(std::max(0.0, solve_assignment(all, n).cost) / static_cast<double>(n));
}

}  // namespace couplet
