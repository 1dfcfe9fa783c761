// Simple densities of noise given its class, fitted on some rows and judged on others: what they gain in log-likelihood
// over N(0, I) proves that the noise is that far from N(0, I), in nats, and says what a remedy of that order is worth.
#pragma once

#include "method/statistics/noise_rows.h"
#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace couplet {

/// Normal distributions given the class, each with the means of the classes.
enum class NoiseModel : std::int64_t {
  class_means,             ///< of unit covariance
  class_deviations,        ///< with the class's deviation of each value
  covariance,              ///< with one covariance about the classes' means, shrunk
  class_covariance,        ///< with a covariance of each class, shrunk
  plain_covariance,        ///< as they come out, where a class has more rows than values
  plain_class_covariance,  ///< likewise
};
inline constexpr std::int64_t noise_models = 6;

/// Covariances by their eigenvalues and eigenvectors, one or one a class.
struct Spectra {
  at::Tensor values;   ///< float64 [n, d], ascending
  at::Tensor vectors;  ///< float64 [n, d, d], in columns
  at::Tensor shrunk;   ///< float64 [n, d]: the eigenvalues of the shrunk covariance (Ledoit and Wolf 2004)
  at::Tensor weight;   ///< float64 [n]: of the multiple of I in it
  bool defined() const { return values.defined(); }
};

/// What is fitted. A class with fewer than two finite rows is N(0, I).
struct NoiseFit {
  at::Tensor rows;                    ///< float64 [classes]: finite ones that it was fitted on
  at::Tensor mean, variance;          ///< float64 [classes, d]
  at::Tensor all_mean, all_variance;  ///< float64 [d], over all classes
  Spectra pooled, by_class;           ///< about the classes' means; undefined where d is too large
  at::Tensor all_values;              ///< float64 [d]: eigenvalues of the covariance about the mean of all
  std::int64_t classes() const { return mean.size(0); }
  std::int64_t values() const { return mean.size(1); }
};

/// Covariances are fitted up to so many values, and as long as those of all classes have no more than
/// `most_fitted_numbers` numbers together.
inline constexpr std::int64_t most_fitted_values = 1024, most_fitted_numbers = std::int64_t{1} << 25;

/// Fits on the rows of a sample: variances and covariances are over n rows, to which one row's worth of N(0, I) is
/// added. The ranks share the classes; the digits are the same on any number of ranks and threads. Collective.
NoiseFit fit_noise(const NoiseSample& sample, std::int64_t classes, Communicator& communicator);

/// log q(z | class) - log N(z; 0, I) of finite rows under each model, nats a row: float64 [n, noise_models], NaN under
/// one that was not fitted.
at::Tensor nats_gained(const NoiseFit& fit, const NoiseRows& rows);

/// ‖mean‖² + Σ (√λ - 1)², the Fréchet distance of a distribution of this mean and these eigenvalues to N(0, I).
double frechet_to_normal(const at::Tensor& mean, const at::Tensor& eigenvalues);

}  // namespace couplet
