#include "method/metrics/pairing.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace couplet {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double none = std::numeric_limits<double>::quiet_NaN();

at::Tensor values(const at::Tensor& images) {
  return images.flatten(1).to(at::kCPU, at::kDouble).contiguous();
}

/// [rows, others] distances by differences: ‖a‖² + ‖b‖² - 2ab would cancel for near neighbours.
at::Tensor distances(const at::Tensor& a, const at::Tensor& b) {
  constexpr std::int64_t by_differences = 2;
  return at::cdist(a, b, 2.0, std::optional<std::int64_t>(by_differences));
}

void check(const PairingInput& input) {
  const std::int64_t rows = input.images.size(0), pool = input.pool.size(0);
  const auto lengths_agree = [](const at::Tensor& tensor, std::int64_t length) {
    return tensor.dim() == 1 && tensor.size(0) == length && tensor.scalar_type() == at::kLong;
  };
  if (input.generated.sizes() != input.images.sizes() || input.images.sizes().slice(1) != input.pool.sizes().slice(1)) {
    fail("pairing fidelity of generated images {} and images {} in a pool {}: the shapes differ",
         fmt::join(input.generated.sizes(), "x"), fmt::join(input.images.sizes(), "x"),
         fmt::join(input.pool.sizes(), "x"));
  }
  if (!lengths_agree(input.labels, rows) || !lengths_agree(input.own, rows) ||
      !lengths_agree(input.pool_labels, pool)) {
    fail("pairing fidelity of {} rows in a pool of {}: labels, own entries and pool labels are int64, one for each",
         rows, pool);
  }
  if (rows > 0 && input.own.max().item<std::int64_t>() >= pool) {
    fail("pairing fidelity: a row's own entry {} lies beyond the pool of {}", input.own.max().item<std::int64_t>(),
         pool);
  }
}

/// [rows, entries] true where a pool entry is the row's own.
at::Tensor is_own(const at::Tensor& own, const at::Tensor& entries) {
  return own.unsqueeze(1).eq(entries.unsqueeze(0));
}

/// The distance from each row of `generated` to the nearest pool image that is not the row's own: float64 [rows].
at::Tensor nearest_other(const at::Tensor& generated, const PairingInput& input, std::int64_t chunk) {
  at::Tensor nearest = at::full({generated.size(0)}, infinity, at::kDouble);
  for (std::int64_t first = 0; first < input.pool.size(0); first += chunk) {
    const std::int64_t last = std::min(first + chunk, input.pool.size(0));
    const at::Tensor mask = is_own(input.own, at::arange(first, last, at::kLong));
    const at::Tensor apart = distances(generated, values(input.pool.slice(0, first, last))).masked_fill(mask, infinity);
    nearest = at::minimum(nearest, apart.amin(1));
  }
  return nearest;
}

/// Median of the finite values of one row; `infinity` marks what does not count.
double finite_median(const at::Tensor& row) {
  const at::Tensor sorted = std::get<0>(row.masked_select(row.isfinite()).sort());
  const std::int64_t n = sorted.numel();
  if (n == 0) return infinity;
  return (sorted[(n - 1) / 2].item<double>() + sorted[n / 2].item<double>()) / 2;
}

/// The median distance from each row's image to the other images of its class in the pool, NaN where none can be
/// divided by: float64 [rows].
at::Tensor class_medians(const at::Tensor& images, const PairingInput& input, std::int64_t chunk) {
  at::Tensor medians = at::empty({images.size(0)}, at::kDouble);
  const at::Tensor classes = std::get<0>(at::_unique(input.labels));
  for (std::int64_t c = 0; c < classes.size(0); ++c) {
    const at::Tensor rows = input.labels.eq(classes[c]).nonzero().flatten();
    const at::Tensor entries = input.pool_labels.eq(classes[c]).nonzero().flatten();
    const at::Tensor members = values(input.pool.index_select(0, entries));
    for (std::int64_t first = 0; first < rows.size(0); first += chunk) {
      const at::Tensor some = rows.slice(0, first, std::min(first + chunk, rows.size(0)));
      const at::Tensor mask = is_own(input.own.index_select(0, some), entries);
      const at::Tensor apart = distances(images.index_select(0, some), members).masked_fill(mask, infinity);
      for (std::int64_t i = 0; i < some.size(0); ++i) {
        const double middle = finite_median(apart[i]);
        medians[some[i].item<std::int64_t>()] = middle > 0 && middle < infinity ? middle : none;
      }
    }
  }
  return medians;
}

}  // namespace

PairingFidelity pairing_fidelity(const PairingInput& input, std::int64_t chunk) {
  check(input);
  const at::NoGradGuard no_grad;
  const at::Tensor generated = values(input.generated), images = values(input.images);
  // One pair at a time through the same routine as the pool's distances: equal images give equal digits.
  const at::Tensor to_own = distances(generated.unsqueeze(1), images.unsqueeze(1)).flatten();
  PairingFidelity result;
  const at::Tensor medians = class_medians(images, input, std::max<std::int64_t>(chunk, 1));
  result.ratio = to_own / medians;
  result.compared = medians.isfinite();
  result.nearest = to_own.le(nearest_other(generated, input, std::max<std::int64_t>(chunk, 1)));
  return result;
}

}  // namespace couplet
