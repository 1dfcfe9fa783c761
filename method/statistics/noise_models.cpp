#include "method/statistics/noise_models.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t most_values_at_once = std::int64_t{1} << 22;
constexpr double not_fitted = std::numeric_limits<double>::quiet_NaN();

/// What the rows of each class add up to, about the mean of their class.
struct ClassSums {
  at::Tensor rows, mean, squares;  ///< [classes], [classes, d], [classes, d]
  at::Tensor outer, fourth;        ///< Σ x xᵀ [classes, d, d], Σ ‖x‖⁴ [classes]; undefined: not needed
};

void end_if_asked(Communicator& communicator) {
  if (agree_to_stop(communicator))
    throw Interrupted("stopped while simple models were fitted to noise; the same command begins with them anew");
}

/// Calls `use` with the finite rows of these numbers, some at a time, until a stop is asked for.
template <class Use>
void for_finite_rows(const NoiseSample& sample, const std::vector<std::int64_t>& numbers, Use use) {
  const auto step = static_cast<std::ptrdiff_t>(std::max<std::int64_t>(1, most_values_at_once / sample.values()));
  for (std::ptrdiff_t first = 0; first < std::ssize(numbers); first += step) {
    const auto begin = numbers.begin() + first;
    const auto end = numbers.begin() + std::min(first + step, std::ssize(numbers));
    if (stop_requested()) return;
    note_progress();
    const at::Tensor z = sample.read({begin, end}).z;
    use(z.index({z.isfinite().all(1)}));
  }
}

void add_class(const NoiseSample& sample, const std::vector<std::int64_t>& numbers, std::int64_t label,
               ClassSums& sums) {
  at::Tensor sum = at::zeros({sample.values()}, at::kDouble);
  std::int64_t rows = 0;
  for_finite_rows(sample, numbers, [&](const at::Tensor& z) {
    sum += z.sum(0);
    rows += z.size(0);
  });
  if (rows < 2) return;
  sums.rows[label].fill_(rows);
  const at::Tensor mean = sum / rows;
  sums.mean[label].copy_(mean);
  for_finite_rows(sample, numbers, [&](const at::Tensor& z) {
    const at::Tensor x = z - mean, square = x.square();
    sums.squares[label].add_(square.sum(0));
    if (!sums.outer.defined()) return;
    sums.outer[label].addmm_(x.t(), x);
    sums.fourth[label].add_(square.sum(1).square().sum());
  });
}

ClassSums class_sums(const NoiseSample& sample, std::int64_t classes, bool covariances, Communicator& communicator) {
  const std::int64_t d = sample.values();
  const auto options = at::TensorOptions(at::kDouble);
  ClassSums sums{
      at::zeros({classes}, options), at::zeros({classes, d}, options), at::zeros({classes, d}, options), {}, {}};
  if (covariances) {
    sums.outer = at::zeros({classes, d, d}, options);
    sums.fourth = at::zeros({classes}, options);
  }
  const auto rows = sample.by_class(classes);
  for (std::int64_t label = communicator.rank(); label < classes; label += communicator.size())
    add_class(sample, rows[static_cast<std::size_t>(label)], label, sums);
  end_if_asked(communicator);
  // Every class was added up by one rank; the others have 0 there.
  for (at::Tensor* part : {&sums.rows, &sums.mean, &sums.squares, &sums.outer, &sums.fourth})
    if (part->defined()) communicator.all_reduce(*part);
  return sums;
}

/// One row's worth of unit variance besides: a value that never varies has a density, too.
at::Tensor with_one_row(const at::Tensor& variance, const at::Tensor& rows) {
  return (variance * rows + 1) / (rows + 1);
}

/// The eigenvalues of (1 - ρ) S + ρ m I, m = tr S / d, with the ρ of least expected squared error: Ledoit and Wolf,
/// "A well-conditioned estimator for large-dimensional covariance matrices" (2004). `fourth`: Σ ‖x‖⁴.
void shrink(Spectra& spectra, const at::Tensor& rows, const at::Tensor& fourth) {
  const auto d = static_cast<double>(spectra.values.size(1));
  const at::Tensor n = rows.clamp_min(1), squares = spectra.values.square().sum(1), level = spectra.values.mean(1);
  const at::Tensor spread = squares / d - level.square();
  const at::Tensor error = (fourth / n - squares) / (n * d);
  spectra.weight = at::where(spread > 0, error / spread, at::ones_like(spread)).clamp(0, 1);
  const at::Tensor weight = spectra.weight.unsqueeze(1);
  spectra.shrunk = with_one_row((1 - weight) * spectra.values + weight * level.unsqueeze(1), rows.unsqueeze(1));
}

/// Covariances of the classes, of all about their classes' means, and of all about their mean, by their eigenvalues;
/// the ranks share them.
void decompose(NoiseFit& fit, const ClassSums& sums, Communicator& communicator) {
  const std::int64_t classes = fit.classes(), d = fit.values(), all = classes, about_all = classes + 1;
  const double rows = fit.rows.sum().item<double>();
  at::Tensor values = at::zeros({classes + 2, d}, at::kDouble), vectors = at::zeros({classes + 1, d, d}, at::kDouble);
  for (std::int64_t i = communicator.rank(); i <= about_all; i += communicator.size()) {
    if (stop_requested()) break;
    note_progress();
    at::Tensor covariance =
        i < all ? sums.outer[i] / fit.rows[i].clamp_min(1) : sums.outer.sum(0) / std::max(rows, 1.0);
    if (i == about_all) {
      const at::Tensor apart = (fit.mean - fit.all_mean) * (fit.rows / std::max(rows, 1.0)).sqrt().unsqueeze(1);
      covariance = covariance + apart.t().matmul(apart);
    }
    const auto [eigenvalues, eigenvectors] = at::linalg_eigh(covariance);
    values[i].copy_(eigenvalues.clamp_min(0));
    if (i < about_all) vectors[i].copy_(eigenvectors);
  }
  end_if_asked(communicator);
  communicator.all_reduce(values);
  communicator.all_reduce(vectors);
  fit.by_class = {values.narrow(0, 0, classes), vectors.narrow(0, 0, classes), {}, {}};
  fit.pooled = {values.narrow(0, all, 1), vectors.narrow(0, all, 1), {}, {}};
  fit.all_values = values[about_all];
  shrink(fit.by_class, fit.rows, sums.fourth);
  shrink(fit.pooled, fit.rows.sum(0, /*keepdim=*/true), sums.fourth.sum(0, /*keepdim=*/true));
}

/// The gain of N(mean, V diag(λ) Vᵀ) over N(0, I) for rows of these squares, x = Vᵀ(z - mean) being given as squares:
/// [n].
at::Tensor gain(const at::Tensor& squares, const at::Tensor& turned_squares, const at::Tensor& eigenvalues) {
  return (squares - (turned_squares / eigenvalues).sum(-1) - eigenvalues.log().sum(-1)) / 2;
}

/// The gains of a covariance, shrunk and, where it was fitted on more rows than it has values, as it came out.
std::pair<at::Tensor, at::Tensor> covariance_gains(const Spectra& spectra, std::int64_t index, double rows,
                                                   const at::Tensor& squares, const at::Tensor& x) {
  const at::Tensor turned = x.matmul(spectra.vectors[index]).square_();
  const bool is_full = rows > static_cast<double>(x.size(1));
  return {gain(squares, turned, spectra.shrunk[index]),
          is_full ? gain(squares, turned, spectra.values[index]) : at::full_like(squares, not_fitted)};
}

}  // namespace

NoiseFit fit_noise(const NoiseSample& sample, std::int64_t classes, Communicator& communicator) {
  const OneThread one_thread;
  const std::int64_t d = sample.values();
  const bool covariances = d <= most_fitted_values && classes * d * d <= most_fitted_numbers;
  const ClassSums sums = class_sums(sample, classes, covariances, communicator);
  NoiseFit fit;
  fit.rows = sums.rows;
  fit.mean = sums.mean;
  const at::Tensor rows = sums.rows.unsqueeze(1), all = sums.rows.sum();
  fit.variance = with_one_row(sums.squares / rows.clamp_min(1), rows);
  fit.all_mean = (rows * fit.mean).sum(0) / all.clamp_min(1);
  fit.all_variance =
      with_one_row((sums.squares + rows * (fit.mean - fit.all_mean).square()).sum(0) / all.clamp_min(1), all);
  if (covariances) decompose(fit, sums, communicator);
  return fit;
}

at::Tensor nats_gained(const NoiseFit& fit, const NoiseRows& rows) {
  const OneThread one_thread;
  const at::Tensor mean = fit.mean.index_select(0, rows.label), variance = fit.variance.index_select(0, rows.label);
  const at::Tensor squares = rows.z.square().sum(1), x = rows.z - mean, apart = x.square();
  at::Tensor gains = at::full({rows.z.size(0), noise_models}, not_fitted, at::kDouble);
  const auto of = [&](NoiseModel model) { return gains.select(1, static_cast<std::int64_t>(model)); };
  of(NoiseModel::class_means).copy_((squares - apart.sum(1)) / 2);
  of(NoiseModel::class_deviations).copy_(gain(squares, apart, variance));
  if (!fit.pooled.defined()) return gains;
  const auto [shrunk, plain] = covariance_gains(fit.pooled, 0, fit.rows.sum().item<double>(), squares, x);
  of(NoiseModel::covariance).copy_(shrunk);
  of(NoiseModel::plain_covariance).copy_(plain);
  for (std::int64_t label = 0; label < fit.classes(); ++label) {
    const at::Tensor here = (rows.label == label).nonzero().flatten();
    if (here.size(0) == 0) continue;
    const auto [own_shrunk, own_plain] = covariance_gains(fit.by_class, label, fit.rows[label].item<double>(),
                                                          squares.index_select(0, here), x.index_select(0, here));
    of(NoiseModel::class_covariance).index_copy_(0, here, own_shrunk);
    of(NoiseModel::plain_class_covariance).index_copy_(0, here, own_plain);
  }
  return gains;
}

double frechet_to_normal(const at::Tensor& mean, const at::Tensor& eigenvalues) {
  return (mean.square().sum() + (eigenvalues.sqrt() - 1).square().sum()).item<double>();
}

}  // namespace couplet
