#include "stages/evaluate/likelihood_scores.h"

#include "method/data/noise.h"
#include "method/solvers/likelihood.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/row_chunks.h"
#include "stages/evaluate/row_sums.h"
#include "stages/trained/models.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numbers>

namespace couplet {
namespace {

/// Some of the held-out images, at even distances.
struct Images {
  std::vector<std::int64_t> numbers;
  at::Tensor image, label;  ///< uint8 [n, C, H, W], int64 [n]
};

std::int64_t rows_of(const StageContext& context, const RowTable& images) {
  return std::min(context.config.evaluate.likelihood_rows, images.rows());
}

/// Always `count` images: beyond the last of `rows` it is repeated.
Images read_images(const RowTable& table, std::int64_t rows, std::int64_t first, std::int64_t count) {
  Images read;
  std::vector<at::Tensor> image, label;
  for (std::int64_t i = first; i < first + count; ++i) {
    const std::int64_t row = std::min(i, rows - 1) * table.rows() / rows;
    read.numbers.push_back(row);
    image.push_back(read_rows(table, "image", row, 1));
    label.push_back(read_rows(table, "label", row, 1).to(torch::kInt64));
  }
  read.image = torch::cat(image);
  read.label = torch::cat(label);
  return read;
}

/// What sums are taken of, a row.
enum Figure : std::int64_t { bits, squares, finite, evaluations, figures };

/// [rows, figures] of float64 bits a value [rows] and the evaluations that their batch took.
at::Tensor figures_of(const at::Tensor& row_bits, std::int64_t nfe) {
  const at::Tensor is_finite = row_bits.isfinite();
  const at::Tensor counted = at::where(is_finite, row_bits, torch::zeros_like(row_bits));
  return torch::stack(
      {counted, counted.square(), is_finite.to(torch::kFloat64), torch::full_like(counted, static_cast<double>(nfe))},
      1);
}

void keep(const StageContext& context, Records& records, RecordKey key, const std::string& metric,
          const at::Tensor& sums, std::int64_t rows, nlohmann::json details) {
  const double n = sums[finite].item<double>(), mean = sums[bits].item<double>() / n;
  const double variance = std::max(0.0, sums[squares].item<double>() / n - mean * mean) * n / (n - 1);
  const double error = std::sqrt(variance / n);
  details["standard_error"] = std::isfinite(error) ? nlohmann::json(error) : nlohmann::json();
  if (key.solver == "dopri5") {
    details["nfe_mean"] = sums[evaluations].item<double>() / static_cast<double>(rows);
    key.nfe = std::llround(details["nfe_mean"].get<double>());
  }
  const auto bad = rows - static_cast<std::int64_t>(n);
  records.add(key, metric, mean, rows, {}, bad, details);
  if (context.communicator.is_root()) records.publish();
  say("{}{}: {} = {:.4f} ± {:.4f} ({} held-out images{})", key.model, key.coupling.empty() ? "" : " " + key.coupling,
      metric, mean, error, rows, bad > 0 ? fmt::format(", {} of them not finite", bad) : "");
}

}  // namespace

void measure_teacher_likelihood(const StageContext& context, Records& records, const RowTable& images,
                                const DatasetShape& shape) {
  const TeacherConfig& config = context.config.teacher;
  const ImageNoise noise = teacher_noise(config);
  const std::string metric = noise.uniform ? "bits_per_dim" : "noised_bits_per_dim";
  const RecordKey key{.model = "teacher", .seed = context.config.pipeline.seed, .split = "test"};
  const std::int64_t rows = rows_of(context, images);
  if (rows == 0 || records.has(key, metric)) return;
  TarFlow teacher = load_teacher(context.run, config, shape, context.device);
  const auto seed = static_cast<std::uint64_t>(context.config.pipeline.seed);
  const at::Tensor sums = sums_over_rows(context, metric, rows, figures, [&](std::int64_t first, std::int64_t count) {
    const Images read = read_images(images, rows, first, count);
    const at::Tensor x = noised_rows(read.image, *shape.codec, noise, seed, Purpose::likelihood_noise, read.numbers);
    const at::Tensor there = x.to(context.device), labels = read.label.to(context.device);
    const at::Tensor nats = by_row_chunks(count, context.device, [&](std::int64_t from, std::int64_t n) {
      const TarFlowOutput output = teacher->forward(there.narrow(0, from, n), labels.narrow(0, from, n));
      return teacher->negative_log_likelihood(output).to(torch::kFloat64).cpu();
    });
    return figures_of(nats / std::numbers::ln2 + 7, 0);
  });
  nlohmann::json details{{"image_noise", config.noise}};
  if (!noise.uniform) details["image_noise_std"] = noise.standard_deviation;
  keep(context, records, key, metric, sums, rows, details);
}

void measure_student_likelihood(const StageContext& context, Records& records, const RowTable& images,
                                const StudentModel& student) {
  const EvaluateConfig& config = context.config.evaluate;
  const RecordKey key{.model = "student",
                      .coupling = context.node.coupling,
                      .seed = context.node.seed,
                      .solver = "dopri5",
                      .split = "test",
                      .guidance = 1};
  const std::int64_t rows = rows_of(context, images);
  const std::shared_ptr<const Codec> codec = codec_of(images.provenance());
  if (rows == 0 || codec->levels() == 0 || records.has(key, "bits_per_dim")) return;
  const StudentFlow flow(student, {}, "float32");
  const auto seed = static_cast<std::uint64_t>(context.config.pipeline.seed);
  const at::Tensor sums =
      sums_over_rows(context, "bits_per_dim", rows, figures, [&](std::int64_t first, std::int64_t count) {
        const Images read = read_images(images, rows, first, count);
        const at::Tensor x = dequantised(read.image, *codec, seed, read.numbers).to(context.device);
        const at::Tensor labels = read.label.to(context.device);
        at::Tensor probes;
        if (config.likelihood_probes > 0)
          probes = rademacher_probes(config.likelihood_probes, x.sizes().slice(1).vec(), seed, read.numbers);
        return by_row_chunks(count, context.device, [&](std::int64_t from, std::int64_t n) {
          const VelocityField field = flow.velocity({labels.narrow(0, from, n), {}});
          const FlowLikelihood found =
              flow_likelihood(field, x.narrow(0, from, n), {config.atol, config.rtol},
                              probes.defined() ? probes.narrow(1, from, n) : probes, flow.prior_scale());
          return figures_of(student_bits(found.nats, x.numel() / count, *codec), found.nfe);
        });
      });
  keep(context, records, key, "bits_per_dim", sums, rows,
       {{"image_noise", "uniform"},
        {"atol", config.atol},
        {"rtol", config.rtol},
        {"trace",
         config.likelihood_probes > 0 ? fmt::format("Hutchinson, {} probes", config.likelihood_probes) : "exact"}});
}

}  // namespace couplet
