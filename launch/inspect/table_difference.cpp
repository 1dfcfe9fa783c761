#include "launch/inspect/table_difference.h"

#include "pipeline/loader/table_rows.h"
#include "storage/error.h"
#include "storage/tables/row_table.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

namespace couplet {
namespace {

constexpr std::int64_t rows_at_once = 4096;

bool is_floating(ElementType type) {
  return type == ElementType::float16 || type == ElementType::bfloat16 || type == ElementType::float32 ||
         type == ElementType::float64;
}

void require_comparable(const RowTable& ours, const RowTable& theirs) {
  if (ours.rows() != theirs.rows())
    refuse("{} has {} rows, {} has {}", ours.path().string(), ours.rows(), theirs.path().string(), theirs.rows());
  for (const Column& column : ours.columns()) {
    const Column& other = theirs.columns()[theirs.column(column.name)];
    if (column.shape != other.shape ||
        (column.type != other.type && !(is_floating(column.type) && is_floating(other.type))))
      refuse("column '{}' is {} [{}] in {} and {} [{}] in {}", column.name, element_name(column.type),
             fmt::join(column.shape, ", "), ours.path().string(), element_name(other.type),
             fmt::join(other.shape, ", "), theirs.path().string());
  }
}

/// Differences |a - b| a row, the largest of each: 0 where both are the same NaN or infinity, infinite where one is.
at::Tensor row_differences(const at::Tensor& a, const at::Tensor& b) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor x = a.to(at::kDouble).reshape({a.size(0), -1}), y = b.to(at::kDouble).reshape({b.size(0), -1});
  const at::Tensor same = (x == y) | (x.isnan() & y.isnan());
  const at::Tensor difference = at::where(same, at::zeros_like(x), (x - y).abs());
  return at::nan_to_num(difference, infinity, infinity).amax(1);
}

}  // namespace

std::vector<ColumnDifference> compare_tables(const std::filesystem::path& ours, const std::filesystem::path& theirs,
                                             Communicator& communicator) {
  const RowTable a(ours, ""), b(theirs, "");
  require_comparable(a, b);
  std::vector<ColumnDifference> all;
  for (const Column& column : a.columns()) {
    ColumnDifference difference{column.name, !is_floating(column.type), 0, 0};
    for (std::int64_t first = rows_at_once * communicator.rank(); first < a.rows();
         first += rows_at_once * communicator.size()) {
      const std::int64_t count = std::min(rows_at_once, a.rows() - first);
      const at::Tensor rows =
          row_differences(read_rows(a, column.name, first, count), read_rows(b, column.name, first, count));
      difference.rows += rows.count_nonzero().item<std::int64_t>();
      difference.largest = std::max(difference.largest, rows.max().item<double>());
    }
    at::Tensor count = at::full({1}, difference.rows, at::kLong);
    communicator.all_reduce(count);
    difference.rows = count.item<std::int64_t>();
    difference.largest = communicator.all_gather(at::full({1}, difference.largest, at::kDouble)).max().item<double>();
    all.push_back(difference);
  }
  return all;
}

}  // namespace couplet
