#include "method/metrics/frechet.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

namespace couplet {

namespace {

/// F with F Fᵀ = `covariance`: eigenvectors times the roots of their eigenvalues. Eigenvalues that rounding alone could
/// make, either side of 0, are 0: their roots would be millions of times larger than the rounding.
at::Tensor root_of(const at::Tensor& covariance) {
  const auto [values, vectors] = at::linalg_eigh(covariance, "L");
  const double rounding = static_cast<double>(values.size(0)) * std::numeric_limits<double>::epsilon();
  return vectors * at::threshold(values, rounding * values.max().item<double>(), 0).sqrt();
}

void check_enough(const Moments& moments, const char* which) {
  if (moments.count < moments.dimension() + 1) {
    refuse("a Fréchet distance over {} features needs at least {} samples; the {} set has {}", moments.dimension(),
           moments.dimension() + 1, which, moments.count);
  }
}

}  // namespace

Moments::Moments(std::int64_t dimension) {
  if (dimension < 1) fail("moments over {} features", dimension);
  sum = at::zeros({dimension}, at::kDouble);
  outer = at::zeros({dimension, dimension}, at::kDouble);
}

Moments::Moments(const Moments& other) : count(other.count), sum(other.sum.clone()), outer(other.outer.clone()) {}

Moments& Moments::operator=(const Moments& other) {
  return *this = Moments(other);
}

void Moments::add(const at::Tensor& features) {
  if (features.dim() != 2 || features.size(1) != dimension()) {
    fail("features of shape {} added to moments over {} features", fmt::join(features.sizes(), "x"), dimension());
  }
  const at::Tensor rows = features.detach().to(at::kCPU, at::kDouble);
  const std::int64_t bad = rows.isfinite().all(1).logical_not().sum().item<std::int64_t>();
  if (bad > 0) fail("{} of {} rows of features hold a value that is not finite", bad, rows.size(0));
  count += rows.size(0);
  sum.add_(rows.sum(0));
  outer.addmm_(rows.t(), rows);
}

void Moments::add(const Moments& other) {
  if (other.dimension() != dimension()) {
    fail("moments over {} features added to moments over {}", other.dimension(), dimension());
  }
  count += other.count;
  sum.add_(other.sum);
  outer.add_(other.outer);
}

at::Tensor Moments::mean() const {
  if (count < 1) fail("the mean of no features");
  return sum / static_cast<double>(count);
}

at::Tensor Moments::covariance() const {
  if (count < 2) fail("the covariance of {} rows of features", count);
  return outer.addr(sum, mean(), 1, -1).div_(static_cast<double>(count - 1));
}

std::string sample_size_warning(std::int64_t samples) {
  if (samples >= comparable_samples) return "";
  return fmt::format("a Fréchet distance over {} samples is biased upwards: publish it over {}, compare it from {} on",
                     samples, published_samples, comparable_samples);
}

double frechet_distance(const Moments& a, const Moments& b) {
  if (a.dimension() != b.dimension()) {
    refuse("a Fréchet distance between sets of {} and {} features: they come from different networks", a.dimension(),
           b.dimension());
  }
  check_enough(a, "first");
  check_enough(b, "second");
  const at::Tensor covariance_a = a.covariance(), covariance_b = b.covariance();
  // With Σ_a = F Fᵀ and Σ_b = G Gᵀ the singular values of Fᵀ G are the eigenvalues of (Σ_a^½ Σ_b Σ_a^½)^½, without a
  // root of rounded small numbers on the way.
  const at::Tensor product = root_of(covariance_a).t().mm(root_of(covariance_b));
  const double cross = at::linalg_svdvals(product).sum().item<double>();
  const double means = (a.mean() - b.mean()).square().sum().item<double>();
  return means + covariance_a.trace().item<double>() + covariance_b.trace().item<double>() - 2 * cross;
}

void save_moments(const std::filesystem::path& path, const Moments& moments,
                  const std::map<std::string, std::string>& metadata) {
  Pending pending(path);
  write_tensors(pending.path(),
                {{"count", at::full({1}, moments.count, at::kLong)}, {"sum", moments.sum}, {"outer", moments.outer}},
                metadata);
  pending.commit();
}

Moments load_moments(const std::filesystem::path& path) {
  return find_moments(path, read_tensors(path), "");
}

Moments find_moments(const std::filesystem::path& path, const NamedTensors& tensors, const std::string& prefix) {
  const auto find = [&](const std::string& name, at::ScalarType type, std::int64_t dimensions) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.scalar_type() != type || found->second.dim() != dimensions) {
      fail("{}: no moments of features: tensor '{}' ({}, {} dimensions) is missing or of another form", path.string(),
           name, at::toString(type), dimensions);
    }
    return found->second;
  };
  const at::Tensor count = find("count", at::kLong, 1), sum = find(prefix + "sum", at::kDouble, 1);
  const at::Tensor outer = find(prefix + "outer", at::kDouble, 2);
  if (count.numel() != 1 || sum.size(0) < 1 || outer.size(0) != sum.size(0) || outer.size(1) != sum.size(0)) {
    fail("{}: moments whose shapes do not belong together: count {}, sum {}, outer {}", path.string(),
         fmt::join(count.sizes(), "x"), fmt::join(sum.sizes(), "x"), fmt::join(outer.sizes(), "x"));
  }
  Moments moments(sum.size(0));
  moments.count = count.item<std::int64_t>();
  moments.sum = sum;
  moments.outer = outer;
  return moments;
}

}  // namespace couplet
