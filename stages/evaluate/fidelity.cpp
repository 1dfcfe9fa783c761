#include "stages/evaluate/fidelity.h"

#include "method/data/codec.h"
#include "method/metrics/image_similarity.h"
#include "method/metrics/pairing.h"
#include "method/sampling/initial_noise.h"
#include "method/sampling/teacher_sampler.h"
#include "method/solvers/fixed_step.h"
#include "method/solvers/trajectory.h"
#include "method/tables/coupling_table.h"
#include "pipeline/loader/table_rows.h"
#include "stages/data/run_source.h"
#include "stages/data/run_tables.h"
#include "stages/evaluate/pictures.h"
#include "stages/evaluate/point_pictures.h"
#include "stages/trained/models.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t pool_rows = 10000;

at::Tensor mean_over_rows(const Evaluation& evaluation, const ScoreRequest& request, std::int64_t rows,
                          std::int64_t figures,
                          const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& measure) {
  return evaluation.sums_over_rows(request, rows, figures, measure) / static_cast<double>(rows);
}

/// How the field of a measurement is made: as its key says.
FieldSetting field_of(const ScoreKey& key) {
  return {key.ema, {key.guidance, key.guidance_from, key.guidance_to}, key.temperature};
}

/// What is measured of each row of a pairing.
enum PairingFigure : std::int64_t {
  distance_ratio,  ///< 0 where there is none
  has_ratio,
  is_nearest,
  signal_to_noise,  ///< 0 where sample and image are equal
  differs,
  likeness,  ///< NaN for images smaller than a window
  pairing_figures
};

/// Float64 [rows, pairing_figures].
at::Tensor figures_of_pairs(const PairingInput& input, const Codec& codec, c10::Device device) {
  const PairingFidelity pairing = pairing_fidelity(input);
  const auto pixels = [&](const at::Tensor& seen) { return codec.decode(seen.to(device)).cpu(); };
  const at::Tensor made = pixels(input.generated), images = pixels(input.images);
  const at::Tensor noise_ratio = psnr(made, images);
  const auto or_zero = [](const at::Tensor& values, const at::Tensor& counts) {
    return at::where(counts, values, at::zeros_like(values));
  };
  const at::Tensor differ = noise_ratio.isfinite();
  return at::stack(
      {or_zero(pairing.ratio, pairing.compared), pairing.compared.to(at::kDouble), pairing.nearest.to(at::kDouble),
       or_zero(noise_ratio, differ), differ.to(at::kDouble), ssim(made, images)},
      1);
}

/// The first `rows` samples on their way from noise to image: at t = 1, 1 - 1/parts ... 0.
std::vector<at::Tensor> first_trajectories(const Evaluation& evaluation, const StudentFlow& flow, std::uint64_t seed,
                                           std::int64_t rows, std::int64_t parts) {
  const c10::Device device = evaluation.context.device;
  const InitialNoise initial = evaluation.student_noise(seed, 0, rows).to(device);
  return trajectory(flow.velocity(initial.condition), flow.start(initial.z, initial.condition),
                    evaluation.config().curvature_steps, parts);
}

/// States of a trajectory as pictures show them: where a path's noise is wider than images, in their width.
std::vector<at::Tensor> in_width_of_images(std::vector<at::Tensor> states, const Path& path) {
  const auto parts = static_cast<double>(states.size() - 1);
  for (std::size_t i = 0; i < states.size(); ++i) {
    const at::Tensor t = at::full({1}, 1 - static_cast<double>(i) / parts, at::kDouble);
    const double sigma = path.sigma(t).item<double>();
    if (sigma > 1) states[i] = states[i] / sigma;
  }
  return states;
}

void show_paths(const Evaluation& evaluation, const StudentFlow& flow, const Path& path, std::uint64_t seed) {
  const std::filesystem::path stem = evaluation.context.run.pictures() / evaluation.model_name();
  if (!has_points(evaluation.context.config.prepare))
    return publish_trajectory(stem.string() + "-trajectory.png",
                              in_width_of_images(first_trajectories(evaluation, flow, seed, 6, 8), path),
                              *evaluation.shape.codec);
  publish_paths(evaluation, stem.string() + "-trajectory.json", first_trajectories(evaluation, flow, seed, 100, 16));
  publish_field(evaluation, stem.string() + "-field.json", flow);
}

}  // namespace

void measure_paths(Evaluation& evaluation, const ScoreRequest& request) {
  const EvaluateConfig& config = evaluation.config();
  const StageContext& context = evaluation.context;
  const StudentFlow flow = evaluation.flow(field_of(request.key));
  const auto seed = static_cast<std::uint64_t>(request.key.sampling_seed);
  const std::vector<double> times = deviation_times(config.curvature_steps);
  const auto figures = 3 + static_cast<std::int64_t>(times.size());
  const at::Tensor means = mean_over_rows(
      evaluation, request, config.curvature_samples, figures, [&](std::int64_t first, std::int64_t count) {
        const InitialNoise initial = evaluation.student_noise(seed, first, count).to(context.device);
        const PathShape shape = path_shape(flow.velocity(initial.condition), flow.start(initial.z, initial.condition),
                                           config.curvature_steps);
        return at::cat({at::stack({shape.curvature, shape.straightness, shape.transport}, 1), shape.deviation}, 1);
      });
  const at::Tensor along = means.narrow(0, 3, figures - 3).contiguous();
  const std::vector<double> deviation(along.data_ptr<double>(), along.data_ptr<double>() + along.numel());
  if (context.communicator.is_root())
    show_paths(evaluation, flow, evaluation.student_model(request.key.ema).objective->path(), seed);
  const auto keep = [&](const char* metric, std::int64_t figure, const nlohmann::json& details) {
    evaluation.keep(request.key, request.with, metric, means[figure].item<double>(), config.curvature_samples, details);
  };
  keep("curvature", 0, {{"times", times}, {"deviation", deviation}});
  keep("straightness", 1, nlohmann::json::object());
  keep("transport_cost", 2, nlohmann::json::object());
}

void measure_pairing(Evaluation& evaluation, const ScoreRequest& request) {
  const EvaluateConfig& config = evaluation.config();
  const c10::Device device = evaluation.context.device;
  const ScoreKey& key = request.key;
  const RowTable table = evaluation.table(key.table, key.split);
  const RowTable& images = key.split == "train" ? evaluation.train : evaluation.test;
  const StudentFlow flow = evaluation.flow(field_of(key));
  const Codec& codec = *evaluation.shape.codec;
  const std::int64_t pool = std::min(pool_rows, images.rows());
  const at::Tensor pool_images = codec.encode(read_rows(images, "image", 0, pool));
  const at::Tensor pool_labels = read_rows(images, "label", 0, pool).to(at::kLong);
  // Samples stand in order in a table, so its first rows are those of the pool: rows at even distances among them.
  const std::int64_t candidates = table.rows() * pool / images.rows(), rows = std::min(config.pairing_rows, candidates);
  const double sigma_f = evaluation.sigma_f(key.table);
  const auto measure = [&](std::int64_t first, std::int64_t count) {
    std::vector<std::int64_t> numbers;
    for (std::int64_t i = first; i < first + count; ++i) numbers.push_back(std::min(i, rows - 1) * candidates / rows);
    const InitialNoise initial = table_noise(table, sigma_f, numbers);
    const at::Tensor x = seen_images(read_numbered_rows(table, "image", numbers), codec);
    const Condition condition = evaluation.shape.condition(x, initial.condition.labels);
    const Condition there = condition.to(device);
    const at::Tensor made = solve(flow.velocity(there), flow.start(initial.z.to(device), there), Solver::euler,
                                  Grid::uniform, key.nfe)
                                .cpu();
    return figures_of_pairs(
        {made, x, condition.labels, pool_images, pool_labels, read_numbered_rows(table, "sample", numbers)}, codec,
        device);
  };
  const at::Tensor means = mean_over_rows(evaluation, request, rows, pairing_figures, measure);
  const auto mean = [&](PairingFigure figure) { return means[figure].item<double>(); };
  const auto rows_without = [&](PairingFigure figure) {
    return rows - std::llround(mean(figure) * static_cast<double>(rows));
  };
  const auto keep = [&](const char* metric, double value, const nlohmann::json& details = nlohmann::json::object()) {
    evaluation.keep(key, request.with, metric, value, rows, details);
  };
  keep("pairing_distance_ratio", mean(distance_ratio) / mean(has_ratio),
       {{"rows_without_class", rows_without(has_ratio)}});
  keep("pairing_nearest_rate", mean(is_nearest));
  keep("psnr", mean(signal_to_noise) / mean(differs), {{"equal_pairs", rows_without(differs)}});
  keep("ssim", mean(likeness));
}

void measure_teacher_distance(Evaluation& evaluation, const ScoreRequest& request) {
  const Config& config = evaluation.context.config;
  const c10::Device device = evaluation.context.device;
  const StudentFlow flow = evaluation.flow(field_of(request.key));
  const std::string table = table_of_student(config, evaluation.context.node.student)->name;
  TarFlow teacher = load_teacher(inverting_weights(config, evaluation.context.run, table), config.teacher,
                                 evaluation.shape, device, evaluation.context.communicator);
  const TeacherSampling sampling{{}, teacher_noise(config.teacher)};
  const auto seed = static_cast<std::uint64_t>(request.key.sampling_seed);
  const std::int64_t rows = config.evaluate.pairing_rows;
  const at::Tensor mean = mean_over_rows(evaluation, request, rows, 1, [&](std::int64_t first, std::int64_t count) {
    const InitialNoise initial = fresh_noise(evaluation.shape, seed, first, count).to(device);
    const at::Tensor theirs = sample_teacher(teacher, initial.z, initial.condition, sampling).images();
    const at::Tensor ours = solve(flow.velocity(initial.condition), flow.start(initial.z, initial.condition),
                                  Solver::euler, Grid::uniform, request.key.nfe);
    return (ours - theirs).flatten(1).to(at::kDouble).norm(2, 1).cpu().unsqueeze(1);
  });
  evaluation.keep(request.key, request.with, "teacher_distance", mean.item<double>(), rows);
}

}  // namespace couplet
