#include "stages/evaluate/likelihood_scores.h"

#include "method/data/noise.h"
#include "method/solvers/likelihood.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/fitting_rows.h"
#include "pipeline/tensor/row_chunks.h"
#include "stages/data/run_source.h"
#include "stages/evaluate/point_pictures.h"
#include "stages/trained/models.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// Some of the held-out images, at even distances.
struct Images {
  std::vector<std::int64_t> numbers;
  at::Tensor image, label;  ///< uint8 [n, C, H, W], int64 [n]
};

std::int64_t rows_of(const Evaluation& evaluation) {
  return std::min(evaluation.config().likelihood_rows, evaluation.test.rows());
}

/// Always `count` images: beyond the last of `rows` it is repeated.
Images read_images(const RowTable& table, std::int64_t rows, std::int64_t first, std::int64_t count) {
  Images read;
  for (std::int64_t i = first; i < first + count; ++i)
    read.numbers.push_back(std::min(i, rows - 1) * table.rows() / rows);
  read.image = read_numbered_rows(table, "image", read.numbers);
  read.label = read_numbered_rows(table, "label", read.numbers).to(at::kLong);
  return read;
}

/// What sums are taken of, a row.
enum Figure : std::int64_t { bits, squares, finite, evaluations, figures };

/// [rows, figures] of float64 bits a value [rows] and the evaluations that their batch took.
at::Tensor figures_of(const at::Tensor& row_bits, double nfe) {
  const at::Tensor is_finite = row_bits.isfinite();
  const at::Tensor counted = at::where(is_finite, row_bits, at::zeros_like(row_bits));
  return at::stack({counted, counted.square(), is_finite.to(at::kDouble), at::full_like(counted, nfe)}, 1);
}

Images narrowed(const Images& images, std::int64_t first, std::int64_t count) {
  return {{images.numbers.begin() + first, images.numbers.begin() + first + count},
          images.image.narrow(0, first, count),
          images.label.narrow(0, first, count)};
}

/// The figures of images that are solved together: of log (1/K) Σ p(x + u), K draws of the noise u; of log p(x) where
/// the codec stores no levels.
at::Tensor student_figures(const Evaluation& evaluation, const StudentFlow& flow, const Images& images) {
  const EvaluateConfig& config = evaluation.config();
  const c10::Device device = evaluation.context.device;
  const Codec& codec = *evaluation.shape.codec;
  const auto seed = static_cast<std::uint64_t>(evaluation.context.config.pipeline.seed);
  const Condition condition = evaluation.shape.condition(codec.encode(images.image), images.label).to(device);
  const FieldOfRows field_of = [&](std::int64_t first, std::int64_t count) {
    return flow.velocity(condition.narrow(first, count));
  };
  at::Tensor probes;
  if (config.likelihood_probes > 0)
    probes = rademacher_probes(config.likelihood_probes, images.image.sizes().slice(1).vec(), seed, images.numbers);
  std::vector<at::Tensor> nats;
  double nfe = 0;
  const bool has_levels = codec.levels() > 0;
  for (std::int64_t draw = 0; draw < (has_levels ? config.likelihood_samples : 1); ++draw) {
    const at::Tensor x =
        (has_levels ? dequantised(images.image, codec, seed, images.numbers, draw) : codec.encode(images.image))
            .to(device);
    const FlowLikelihood found = flow_likelihood(field_of, x, {config.atol, config.rtol}, probes, flow.prior_scale());
    nats.push_back(found.nats);
    nfe += static_cast<double>(found.nfe);
  }
  const auto draws = static_cast<double>(nats.size());
  const std::int64_t values = images.image.numel() / images.image.size(0);
  const at::Tensor mean = nats.size() == 1 ? nats.front() : at::logsumexp(at::stack(nats), {0}) - std::log(draws);
  return figures_of(has_levels ? student_bits(mean, values, codec) : -mean, nfe / draws);
}

/// "exact", "exact, 5 dequantisations", "Hutchinson, 1 probes"
std::string trace_text(const EvaluateConfig& config, bool has_levels) {
  if (config.likelihood_probes > 0) return fmt::format("Hutchinson, {} probes", config.likelihood_probes);
  if (config.likelihood_samples == 1 || !has_levels) return "exact";
  return fmt::format("exact, {} dequantisations", config.likelihood_samples);
}

void keep(Evaluation& evaluation, const ScoreRequest& request, const at::Tensor& sums, std::int64_t rows,
          nlohmann::json details) {
  const double n = sums[finite].item<double>(), mean = sums[bits].item<double>() / n;
  const double variance = std::max(0.0, sums[squares].item<double>() / n - mean * mean) * n / (n - 1);
  const double error = std::sqrt(variance / n);
  details["standard_error"] = std::isfinite(error) ? nlohmann::json(error) : nlohmann::json();
  ScoreKey key = request.key;
  if (key.is_adaptive()) {
    details["nfe_mean"] = sums[evaluations].item<double>() / static_cast<double>(rows);
    key.nfe = std::llround(details["nfe_mean"].get<double>());
  }
  const auto bad = rows - static_cast<std::int64_t>(n);
  evaluation.records.add(key, request.last_metric, request.with, mean, rows, {}, bad, details);
  if (evaluation.context.communicator.is_root()) evaluation.records.publish();
  say("{}{}: {} = {:.4f} ± {:.4f} ({} held-out images{})", key.model, key.student.empty() ? "" : " " + key.student,
      request.last_metric, mean, error, rows, bad > 0 ? fmt::format(", {} of them not finite", bad) : "");
}

}  // namespace

void measure_teacher_likelihood(Evaluation& evaluation, const ScoreRequest& request) {
  const StageContext& context = evaluation.context;
  const TeacherConfig& config = context.config.teacher;
  const ImageNoise noise = teacher_noise(config);
  const std::int64_t rows = rows_of(evaluation);
  TarFlow teacher =
      load_teacher(context.run.teacher_ema(), config, evaluation.shape, context.device, context.communicator);
  const auto seed = static_cast<std::uint64_t>(context.config.pipeline.seed);
  const at::Tensor sums =
      evaluation.sums_over_rows(request, rows, figures, [&](std::int64_t first, std::int64_t count) {
        const Images read = read_images(evaluation.test, rows, first, count);
        const at::Tensor x =
            noised_rows(read.image, *evaluation.shape.codec, noise, seed, Purpose::likelihood_noise, read.numbers);
        const at::Tensor there = x.to(context.device), labels = read.label.to(context.device);
        const at::Tensor nats = by_fitting_rows(count, context.device, [&](std::int64_t from, std::int64_t n) {
          const TarFlowOutput output = teacher->forward(there.narrow(0, from, n), labels.narrow(0, from, n));
          return teacher->negative_log_likelihood(output).to(at::kDouble).cpu();
        });
        return figures_of(nats / std::numbers::ln2 + 7, 0);
      });
  nlohmann::json details{{"image_noise", config.noise}};
  if (!noise.uniform) details["image_noise_std"] = noise.standard_deviation;
  keep(evaluation, request, sums, rows, details);
}

void measure_known_likelihood(Evaluation& evaluation, const ScoreRequest& request) {
  const PointDensity density = point_density(evaluation.context.config.prepare).value();
  const std::int64_t rows = rows_of(evaluation);
  const at::Tensor sums =
      evaluation.sums_over_rows(request, rows, figures, [&](std::int64_t first, std::int64_t count) {
        const Images read = read_images(evaluation.test, rows, first, count);
        return figures_of(-density.log_density(read.image.flatten(1).to(at::kDouble)), 0);
      });
  keep(evaluation, request, sums, rows, {{"entropy", density.entropy}});
}

void measure_student_likelihood(Evaluation& evaluation, const ScoreRequest& request) {
  const StageContext& context = evaluation.context;
  const EvaluateConfig& config = evaluation.config();
  const bool has_levels = evaluation.shape.codec->levels() > 0;
  const StudentFlow flow(evaluation.student_model(request.key.ema), {}, "float32");
  if (!flow.starts_from_noise())
    return evaluation.keep(request.key, request.with, request.last_metric, std::nan(""), 0,
                           {{"why", "the student's source is not N(0, I) but made of each image's condition"}});
  const std::int64_t rows = rows_of(evaluation);
  const at::Tensor sums =
      evaluation.sums_over_rows(request, rows, figures, [&](std::int64_t first, std::int64_t count) {
        const Images read = read_images(evaluation.test, rows, first, count);
        return by_row_chunks(count, context.device, [&](std::int64_t from, std::int64_t n) {
          return student_figures(evaluation, flow, narrowed(read, from, n));
        });
      });
  if (has_points(context.config.prepare))
    publish_density(evaluation, context.run.pictures() / (evaluation.model_name() + "-density.json"), flow);
  const std::int64_t slice = std::min(config.slice_rows, rows);
  keep(evaluation, request, sums, rows,
       {{"image_noise", has_levels ? "uniform" : "none"},
        {"dequantisations", has_levels ? config.likelihood_samples : 0},
        {"slice_rows", context.device.is_cpu() ? std::min(slice, usual_chunk_rows) : slice},
        {"trace", trace_text(config, has_levels)}});
}

}  // namespace couplet
