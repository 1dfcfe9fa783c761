// Layers that make every value normal: of the values themselves, then of their spatial frequencies, then of those of
// values whose signs were drawn (rotation-based Gaussianisation: Laparra, Camps-Valls and Malo, IEEE Transactions on
// Neural Networks 22, 2011). Each layer is Qᵀ M(Q z), M a map of single values: it turns back, so that noise stays near
// to what it was, value by value, and where it lies in the image.
#include "method/gaussianisation/gaussian_map.h"
#include "method/gaussianisation/marginal_splines.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t rotation_piece_rows = 256, least_pieces = 200, pieces_a_judged_one = 10;
constexpr std::int64_t fewest_fitted_rows = 500;
constexpr double errors_of_a_gain = 2, least_gain = 1e-3;  // standard errors, and nats, that count as one

/// Rows are frequencies (DCT-II), orthonormal: [n, n].
at::Tensor cosines(std::int64_t n) {
  const OneThread one_thread;
  const at::Tensor place = at::arange(n, at::kDouble) + 0.5, frequency = at::arange(n, at::kDouble).unsqueeze(1);
  const at::Tensor rows = (std::numbers::pi / static_cast<double>(n) * frequency * place).cos();
  const double size = static_cast<double>(n);
  return at::cat({rows.narrow(0, 0, 1) / std::sqrt(size), rows.narrow(0, 1, n - 1) * std::sqrt(2 / size)});
}

/// The orthogonal map Q of a layer: none of the first; cosines along each axis; from the third on behind signs that are
/// drawn.
class Mixing {
public:
  Mixing(std::int64_t layer, const std::vector<std::int64_t>& shape, std::uint64_t seed, c10::Device device) {
    if (layer == 0) return;
    for (const std::int64_t size : shape) axes_.push_back(cosines(size).to(device));
    if (layer == 1) return;
    Draws draws(seed, Purpose::rotation_signs, static_cast<std::uint64_t>(layer));
    std::vector<double> signs(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    for (double& sign : signs) sign = draws.bits() % 2 == 0 ? 1 : -1;
    signs_ = at::tensor(signs, at::kDouble).view(shape).to(device);
  }

  at::Tensor there(const at::Tensor& z) const {
    if (axes_.empty()) return z;
    return along_axes(signs_.defined() ? z * signs_ : z, false);
  }
  at::Tensor back(const at::Tensor& mixed) const {
    if (axes_.empty()) return mixed;
    const at::Tensor z = along_axes(mixed, true);
    return signs_.defined() ? z * signs_ : z;
  }

private:
  at::Tensor along_axes(at::Tensor z, bool transposed) const {
    for (std::size_t axis = 0; axis < axes_.size(); ++axis) {
      const auto dimension = static_cast<std::int64_t>(axis) + 1;
      const at::Tensor matrix = transposed ? axes_[axis] : axes_[axis].t();
      z = at::matmul(z.transpose(dimension, 3), matrix).transpose(dimension, 3);
    }
    return z.contiguous();
  }

  std::vector<at::Tensor> axes_;
  at::Tensor signs_;
};

std::string knots_name(std::int64_t layer) {
  return "knots." + std::to_string(layer);
}

class Rotations : public GaussianMap {
public:
  Rotations(const NamedTensors& state, const GaussianMapOptions& options, c10::Device device) {
    for (std::int64_t layer = 0; layer < options.rotation_layers; ++layer)
      if (state.contains(knots_name(layer)))
        layers_.push_back({Mixing(layer, options.shape, options.seed, device),
                           MarginalSplines(state.at(knots_name(layer)).to(device), state.at("scores").to(device))});
  }

  MappedNoise operator()(const at::Tensor& z, const at::Tensor&) const override {
    MappedNoise mapped{z, at::zeros({z.size(0)}, z.options())};
    for (const Layer& layer : layers_) mapped = through(layer, mapped);
    return mapped;
  }

private:
  struct Layer {
    Mixing mixing;
    MarginalSplines splines;
  };

  static MappedNoise through(const Layer& layer, const MappedNoise& mapped) {
    const auto made = layer.splines(layer.mixing.there(mapped.z).flatten(1));
    return {layer.mixing.back(made.values.view(mapped.z.sizes())), mapped.log_det + made.log_det};
  }

  std::vector<Layer> layers_;
};

/// The rows that layers are fitted to, and those that say whether a layer is kept.
struct RotationRows {
  std::vector<RowPiece> fitted, judged;
};

RotationRows rotation_rows(std::int64_t rows, std::int64_t most) {
  const auto piece_rows = std::clamp<std::int64_t>(rows / least_pieces, 1, rotation_piece_rows);
  const std::int64_t stride = most > 0 && most < rows ? (rows + most - 1) / most : 1;
  const std::vector<RowPiece> all = pieces_of(rows, piece_rows);
  RotationRows chosen;
  for (std::int64_t i = 0; i * stride < std::ssize(all); ++i)
    (i % pieces_a_judged_one == 0 ? chosen.judged : chosen.fitted).push_back(all[static_cast<std::size_t>(i * stride)]);
  return chosen;
}

std::int64_t count_of(const std::vector<RowPiece>& pieces) {
  std::int64_t rows = 0;
  for (const RowPiece& piece : pieces) rows += piece.count;
  return rows;
}

struct MeanGain {
  double nats = 0, standard_error = 0;
};

/// What the rows gain by one map more than by another. A piece counts as one: rows beside each other may be mirror
/// images or replicates.
MeanGain gain_over(const GaussianMap& map, const GaussianMap& before, const TrainingNoise& rows,
                   const std::vector<RowPiece>& pieces) {
  const at::Tensor sums = sum_over_rows(rows, pieces, {4}, [&](at::Tensor& sum, const LabelledNoise& piece) {
    const at::Tensor gained =
        nats_gained(piece.z, map(piece.z, piece.label)) - nats_gained(piece.z, before(piece.z, piece.label));
    const at::Tensor nats = gained.sum(), count = at::ones_like(nats) * gained.size(0);
    sum += at::stack({nats, nats.square(), nats * count, count.square()});
  });
  const auto n = static_cast<double>(count_of(pieces));
  const double mean = sums[0].item<double>() / n;
  const at::Tensor about_mean = sums[1] - 2 * mean * sums[2] + mean * mean * sums[3];
  return {mean, std::sqrt(std::max(about_mean.item<double>(), 0.0)) / n};
}

NamedTensors fit_rotations(const TrainingNoise& rows, const GaussianMapOptions& options) {
  const RotationRows chosen = rotation_rows(rows.rows, options.rotation_rows);
  const bool says = rows.communicator.is_root();
  NamedTensors state{{"scores", at::zeros({1}, at::kDouble)}};
  if (count_of(chosen.fitted) < fewest_fitted_rows) {
    if (says) say("rotations: {} rows are too few to fit a layer to: the noise stays as it is", rows.rows);
    return state;
  }
  for (std::int64_t layer = 0; layer < options.rotation_layers; ++layer) {
    const Rotations before(state, options, c10::kCPU);
    const Mixing mixing(layer, options.shape, options.seed, c10::kCPU);
    const at::Tensor counts = sum_over_rows(
        rows, chosen.fitted, {options.values(), ValueCounts::bins}, [&](at::Tensor& sum, const LabelledNoise& piece) {
          ValueCounts::add(sum, mixing.there(before(piece.z, piece.label).z).flatten(1));
        });
    const SplineFit fit = fit_splines(counts);
    NamedTensors more = state;
    more["scores"] = fit.scores;
    more[knots_name(layer)] = fit.knots;
    const MeanGain gain = gain_over(Rotations(more, options, c10::kCPU), before, rows, chosen.judged);
    const bool is_kept = gain.nats > std::max(least_gain, errors_of_a_gain * gain.standard_error);
    if (says)
      say("rotations: layer {} gains {:.3f} ± {:.3f} nats a row of {} that it was not fitted to (quantiles count by "
          "{:.2f}){}",
          layer + 1, gain.nats, gain.standard_error, count_of(chosen.judged), fit.weight,
          is_kept ? "" : ": it is left out");
    if (is_kept) state = std::move(more);
  }
  return state;
}

}  // namespace

GaussianMapKind rotations_map() {
  return {.name = "rotations",
          .help = "makes each value normal, then each spatial frequency, and mixtures of these, layer by layer",
          .keys = {"rotation-layers", "rotation-rows"},
          .fit = fit_rotations,
          .make = [](const NamedTensors& state, const GaussianMapOptions& options, c10::Device device)
              -> std::shared_ptr<const GaussianMap> { return std::make_shared<Rotations>(state, options, device); }};
}

}  // namespace couplet
