// Means and deviations of each class, and on request the covariance of all: what is not Gaussian in the orders 1 and 2.
#include "method/gaussianisation/gaussian_map.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <tuple>

namespace couplet {
namespace {

constexpr std::int64_t affine_piece_rows = 512, widest_covariance = 1024;
constexpr double least_variance = 1e-12;

class Affine : public GaussianMap {
public:
  Affine(const NamedTensors& state, c10::Device device)
      : mean_(state.at("mean").to(device)), deviation_(state.at("deviation").to(device)) {
    const OneThread one_thread;
    log_det_ = -deviation_.flatten(1).log().sum(1);
    if (!state.contains("whitening")) return;
    whitening_ = state.at("whitening").to(device);
    log_det_ = log_det_ + state.at("whitening_log_det").to(device);
  }

  MappedNoise operator()(const at::Tensor& z, const at::Tensor& labels) const override {
    at::Tensor mapped = (z - mean_.index_select(0, labels)) / deviation_.index_select(0, labels);
    if (whitening_.defined()) mapped = at::matmul(mapped.flatten(1), whitening_).view(z.sizes());
    return {mapped, log_det_.index_select(0, labels)};
  }

private:
  at::Tensor mean_, deviation_;  ///< [classes, C, H, W]
  at::Tensor log_det_;           ///< [classes]
  at::Tensor whitening_;         ///< [d, d], symmetric, or undefined
};

/// The inverse square root of the covariance of standardised values, which is shrunk to a multiple of 1 as far as its
/// own scatter asks for (Ledoit and Wolf, Journal of Multivariate Analysis 88, 2004). It is the symmetric root: values
/// stay as near to what they were as they can.
void add_whitening(NamedTensors& state, const TrainingNoise& rows, std::int64_t values) {
  const Affine standardised(state, c10::kCPU);
  const at::Tensor sums = sum_over_rows(rows, pieces_of(rows.rows, affine_piece_rows), {values * values + 1},
                                        [&](at::Tensor& sum, const LabelledNoise& piece) {
                                          const at::Tensor u = standardised(piece.z, piece.label).z.flatten(1);
                                          sum.narrow(0, 0, values * values).view({values, values}).addmm_(u.t(), u);
                                          sum[values * values] += u.square().sum(1).square().sum();
                                        });
  const OneThread one_thread;
  const auto n = static_cast<double>(rows.rows), d = static_cast<double>(values);
  const at::Tensor sample = sums.narrow(0, 0, values * values).view({values, values}) / n;
  const double fourth = sums[values * values].item<double>() / n;
  const double scale = sample.trace().item<double>() / d, square = sample.square().sum().item<double>();
  const double distance = square / d - scale * scale;
  const double scatter = std::clamp((fourth - square) / (n * d), 0.0, distance);
  const double shrinkage = distance > 0 ? scatter / distance : 1;
  const at::Tensor covariance = (1 - shrinkage) * sample + shrinkage * scale * at::eye(values, at::kDouble);
  const auto [eigenvalues, axes] = at::linalg_eigh(covariance);
  if (rows.communicator.is_root())
    say("affine: covariance of {} values, shrunk by {:.3f}; eigenvalues {:.3f} to {:.3f}", values, shrinkage,
        eigenvalues[0].item<double>(), eigenvalues[values - 1].item<double>());
  state["whitening"] = at::matmul(axes * eigenvalues.rsqrt(), axes.t()).contiguous();
  state["whitening_log_det"] = (-0.5 * eigenvalues.log().sum()).view({1});
}

void check_affine(const GaussianMapOptions& options) {
  if (options.affine_covariance && options.values() > widest_covariance)
    refuse("{}.affine-covariance = pooled: rows have {} values, and covariances are for at most {}: set it to none",
           options.section, options.values(), widest_covariance);
}

/// Means and deviations, of the classes' sums [classes, 1 + 2 d]: rows, values, squares. Of a class with few rows both
/// are drawn towards those of all: as if it had `affine_prior` rows of theirs besides.
NamedTensors class_moments(const at::Tensor& sums, const GaussianMapOptions& options) {
  const OneThread one_thread;
  const std::int64_t values = options.values();
  const at::Tensor count = sums.narrow(1, 0, 1), sum = sums.narrow(1, 1, values);
  const at::Tensor squares = sums.narrow(1, 1 + values, values), divisor = count.clamp_min(1);
  const at::Tensor weight = count / (count + options.affine_prior).clamp_min(1);
  const at::Tensor own = sum / divisor, all = sum.sum(0, /*keepdim=*/true) / count.sum();
  const at::Tensor mean = weight * own + (1 - weight) * all;
  const at::Tensor spread = squares / divisor - 2 * mean * own + mean.square();  // about that mean
  const at::Tensor common = (count * spread).sum(0, /*keepdim=*/true) / count.sum();
  const at::Tensor variance = weight * spread + (1 - weight) * common;
  if (const at::Tensor still = (variance < least_variance).nonzero(); still.numel() > 0)
    fail("value {} of the noise is the same in all rows of class {}: nothing makes it Gaussian",
         still[0][1].item<std::int64_t>(), still[0][0].item<std::int64_t>());
  std::vector<std::int64_t> shape = options.shape;
  shape.insert(shape.begin(), options.classes);
  return {{"mean", mean.contiguous().view(shape)}, {"deviation", variance.sqrt().contiguous().view(shape)}};
}

NamedTensors fit_affine(const TrainingNoise& rows, const GaussianMapOptions& options) {
  const std::int64_t values = options.values();
  const at::Tensor sums = sum_over_rows(
      rows, pieces_of(rows.rows, affine_piece_rows), {options.classes, 1 + 2 * values},
      [&](at::Tensor& sum, const LabelledNoise& piece) {
        const at::Tensor z = piece.z.flatten(1);
        sum.index_add_(0, piece.label, at::cat({at::ones({z.size(0), 1}, z.options()), z, z.square()}, 1));
      });
  NamedTensors state = class_moments(sums, options);
  if (options.affine_covariance) add_whitening(state, rows, values);
  return state;
}

}  // namespace

GaussianMapKind affine_map() {
  return {.name = "affine",
          .help = "takes off each class's means and divides by its deviations, value by value",
          .keys = {"affine-prior", "affine-covariance"},
          .check = check_affine,
          .fit = fit_affine,
          .make = [](const NamedTensors& state, const GaussianMapOptions&, c10::Device device)
              -> std::shared_ptr<const GaussianMap> { return std::make_shared<Affine>(state, device); }};
}

}  // namespace couplet
