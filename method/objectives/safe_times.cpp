#include "method/objectives/safe_times.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

constexpr double largest_fading = 200, least_sigma = 1e-3;

/// Between a time at which something is so and one at which it is not: the last one found at which it is.
template <class Condition>
double safe_end(double safe, double unsafe, const Condition& is_safe) {
  if (is_safe(unsafe)) return unsafe;
  for (int halving = 0; halving < 60; ++halving) {
    const double middle = 0.5 * (safe + unsafe);
    (is_safe(middle) ? safe : unsafe) = middle;
  }
  return safe;
}

at::Tensor one_time(double t) {
  return at::full({1}, t, at::kDouble);
}

}  // namespace

double last_time_of_noise(const Path& path) {
  return safe_end(path.first_time(), path.last_time(), [&](double t) {
    return (-path.alpha_slope(one_time(t)) / path.alpha(one_time(t))).item<double>() <= largest_fading;
  });
}

double first_time_of_score(const Path& path) {
  return safe_end(path.last_time(), path.first_time(),
                  [&](double t) { return path.sigma(one_time(t)).item<double>() >= least_sigma; });
}

}  // namespace couplet
