#include "method/metrics/kernel_distance.h"

#include "method/metrics/numpy_random.h"
#include "pipeline/distributed/slices.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t kernel_rows = 256;      ///< of one set, at once
constexpr std::int64_t kernel_columns = 4096;  ///< of the set that they are compared with

at::Tensor kernel(const at::Tensor& x, const at::Tensor& y) {
  at::Tensor values = x.mm(y.t());
  values.div_(static_cast<double>(x.size(1))).add_(1);
  return values.pow_(3);
}

/// k(x_i, x_i)
at::Tensor own_kernel(const at::Tensor& x) {
  return x.square().sum(1).div_(static_cast<double>(x.size(1))).add_(1).pow_(3);
}

/// Σ_j k(x_i, y_j): float64 [rows of x].
at::Tensor kernel_sums(const at::Tensor& x, const at::Tensor& y) {
  at::Tensor sums = at::zeros({x.size(0)}, at::kDouble);
  for (const at::Tensor& block : y.split(kernel_columns)) sums.add_(kernel(x, block.to(at::kDouble)).sum(1));
  return sums;
}

/// Σ over all pairs (i, j) of the rows of x and y; without those of i = j where x and y are one set.
double sum_of_pairs(const at::Tensor& x, const at::Tensor& y, bool one_set, Communicator& communicator) {
  double sum = 0;
  for_each_slice(
      communicator, {.rows = x.size(0), .slice_rows = kernel_rows, .columns = 1, .stopped = ""},
      [&](std::int64_t first) {
        const at::Tensor rows = x.narrow(0, first, std::min(kernel_rows, x.size(0) - first)).to(at::kDouble);
        at::Tensor sums = kernel_sums(rows, y);
        if (one_set) sums.sub_(own_kernel(rows));
        return sums.unsqueeze(1);
      },
      [&](const at::Tensor& values) { sum += values.sum().item<double>(); });
  return sum;
}

/// MMD² from the sums of kernel values within a set of m rows (without i = j), within one of n rows, and across.
double unbiased(double within_a, double within_b, double across, double m, double n) {
  return within_a / (m * (m - 1)) + within_b / (n * (n - 1)) - 2 * across / (m * n);
}

double subset_distance(const at::Tensor& x, const at::Tensor& y) {
  const auto rows = static_cast<double>(x.size(0));
  const auto within = [](const at::Tensor& set) {
    return (kernel_sums(set, set) - own_kernel(set)).sum().item<double>();
  };
  return unbiased(within(x), within(y), kernel_sums(x, y).sum().item<double>(), rows, rows);
}

void check_sets(const at::Tensor& a, const at::Tensor& b, std::int64_t rows) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1))
    refuse("a kernel distance between sets of {} and {} features: they come from different networks",
           a.dim() == 2 ? a.size(1) : 0, b.dim() == 2 ? b.size(1) : 0);
  if (rows < 2 || a.size(0) < rows || b.size(0) < rows)
    refuse(
        "a kernel distance over {} rows of each set, of sets of {} and {} rows: there must be as many, and at least 2",
        rows, a.size(0), b.size(0));
}

at::Tensor first_of_permutation(RandomState& draws, std::int64_t all, std::int64_t rows) {
  const std::vector<std::int64_t> order = draws.permutation(all);
  return at::tensor(at::ArrayRef<std::int64_t>(order).slice(0, static_cast<std::size_t>(rows)), at::kLong);
}

}  // namespace

KernelDistance kernel_distance(const at::Tensor& a, const at::Tensor& b, const KernelSubsets& subsets,
                               Communicator& communicator) {
  check_sets(a, b, subsets.rows);
  if (subsets.subsets < 1) refuse("a kernel distance over {} subsets", subsets.subsets);
  RandomState draws(subsets.seed);
  std::vector<at::Tensor> of_a, of_b;
  for (std::int64_t i = 0; i < subsets.subsets; ++i) {
    of_a.push_back(first_of_permutation(draws, a.size(0), subsets.rows));
    of_b.push_back(first_of_permutation(draws, b.size(0), subsets.rows));
  }
  std::vector<at::Tensor> distances;
  for_each_slice(
      communicator, {.rows = subsets.subsets, .slice_rows = 1, .columns = 1, .stopped = ""},
      [&](std::int64_t subset) {
        const auto i = static_cast<std::size_t>(subset);
        return at::full(
            {1, 1},
            subset_distance(a.index_select(0, of_a[i]).to(at::kDouble), b.index_select(0, of_b[i]).to(at::kDouble)),
            at::kDouble);
      },
      [&](const at::Tensor& values) { distances.push_back(values.clone()); });
  const at::Tensor all = at::cat(distances);
  return {all.mean().item<double>(), all.std(/*unbiased=*/false).item<double>()};
}

double kernel_sum(const at::Tensor& set, Communicator& communicator) {
  return sum_of_pairs(set, set, true, communicator);
}

double full_kernel_distance(const at::Tensor& a, const at::Tensor& b, double sum_of_b, Communicator& communicator) {
  check_sets(a, b, 2);
  return unbiased(kernel_sum(a, communicator), sum_of_b, sum_of_pairs(a, b, false, communicator),
                  static_cast<double>(a.size(0)), static_cast<double>(b.size(0)));
}

}  // namespace couplet
