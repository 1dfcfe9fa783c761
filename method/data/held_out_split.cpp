#include "method/data/held_out_split.h"

#include "pipeline/tensor/random.h"
#include "storage/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace couplet {
namespace {

/// The rows, those of one class together, ascending within it.
std::vector<std::int64_t> rows_by_class(std::int64_t rows, std::span<const std::int32_t> labels) {
  std::vector<std::int64_t> sorted(static_cast<std::size_t>(rows));
  std::iota(sorted.begin(), sorted.end(), std::int64_t{0});
  if (!labels.empty())
    std::ranges::stable_sort(sorted, {}, [&](std::int64_t row) { return labels[static_cast<std::size_t>(row)]; });
  return sorted;
}

std::int64_t held_out_of(std::int64_t rows, double share) {
  return std::min(rows - 1, static_cast<std::int64_t>(std::floor(share * static_cast<double>(rows) + 0.5)));
}

}  // namespace

std::string HeldOutOptions::text() const {
  return fmt::format("{} of each class, seed {}", share, seed);
}

HeldOutSplit hold_out(const std::string& what, std::int64_t rows, std::span<const std::int32_t> labels,
                      const HeldOutOptions& options) {
  if (!(options.share > 0 && options.share < 1))
    refuse("prepare.held-out = {}: the share of the rows that is held out lies above 0 and below 1", options.share);
  if (!labels.empty() && labels.size() != static_cast<std::size_t>(rows))
    fail("{}: {} labels for {} rows", what, labels.size(), rows);
  const std::vector<std::int64_t> sorted = rows_by_class(rows, labels);
  const auto label_at = [&](std::int64_t place) {
    return labels.empty() ? 0 : labels[static_cast<std::size_t>(sorted[static_cast<std::size_t>(place)])];
  };
  std::vector<bool> is_held_out(sorted.size());
  std::int64_t held_out = 0, largest = 0;
  for (std::int64_t first = 0, end = 0; first < rows; first = end) {
    const std::int32_t label = label_at(first);
    while (end < rows && label_at(end) == label) ++end;
    const std::int64_t drawn = held_out_of(end - first, options.share);
    // Index 0 of this purpose is that of tables.
    const std::vector<std::int64_t> order =
        permutation(end - first, options.seed, Purpose::held_out_blocks, 1 + static_cast<std::uint64_t>(label));
    for (std::int64_t i = 0; i < drawn; ++i)
      is_held_out[static_cast<std::size_t>(
          sorted[static_cast<std::size_t>(first + order[static_cast<std::size_t>(i)])])] = true;
    held_out += drawn;
    largest = std::max(largest, end - first);
  }
  if (held_out == 0)
    refuse("{}: prepare.held-out = {} of each class holds out no row, as no class has more than {}", what,
           options.share, largest);
  HeldOutSplit split;
  split.train.reserve(static_cast<std::size_t>(rows - held_out));
  split.test.reserve(static_cast<std::size_t>(held_out));
  for (std::int64_t row = 0; row < rows; ++row)
    (is_held_out[static_cast<std::size_t>(row)] ? split.test : split.train).push_back(row);
  return split;
}

}  // namespace couplet
