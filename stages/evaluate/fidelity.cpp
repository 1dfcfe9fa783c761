#include "stages/evaluate/fidelity.h"

#include "method/couplings/coupling_table.h"
#include "method/data/images.h"
#include "method/metrics/image_similarity.h"
#include "method/metrics/pairing.h"
#include "method/sampling/initial_noise.h"
#include "method/sampling/teacher_sampler.h"
#include "method/solvers/fixed_step.h"
#include "method/solvers/trajectory.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "stages/evaluate/pictures.h"
#include "stages/evaluate/row_sums.h"
#include "stages/trained/models.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t pool_rows = 10000;

at::Tensor mean_over_rows(const FidelityTask& task, const std::string& what, std::int64_t rows, std::int64_t figures,
                          const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& measure) {
  return sums_over_rows(task.context, what, rows, figures, measure) / static_cast<double>(rows);
}

RecordKey student_key(const FidelityTask& task, std::int64_t nfe, const std::string& noise, const std::string& split) {
  return {.model = "student",
          .coupling = task.context.node.coupling,
          .seed = task.context.node.seed,
          .solver = "euler",
          .grid = "uniform",
          .nfe = nfe,
          .noise = noise,
          .sampling_seed = task.context.config.evaluate.sampling_seeds.front(),
          .split = split,
          .guidance = task.context.config.evaluate.guidance,
          .guidance_from = task.context.config.evaluate.guidance_from,
          .guidance_to = task.context.config.evaluate.guidance_to};
}

void keep(const FidelityTask& task, const RecordKey& key, const std::string& metric, double value, std::int64_t samples,
          const nlohmann::json& details = nlohmann::json::object()) {
  if (task.records.has(key, metric)) return;  // an attempt that was killed between two figures of one measurement
  task.records.add(key, metric, value, samples, {}, 0, details);
  if (task.context.communicator.is_root()) task.records.publish();
  say("{}{}: {} = {:.5f} ({} rows)", key.coupling, key.split.empty() ? "" : ", " + key.split, metric, value, samples);
}

/// Float64 [rows, 5]: both figures of pairing fidelity; PSNR of samples and their rows' images, 0 where they are equal,
/// and whether they differ; SSIM (NaN for images smaller than its window).
at::Tensor pairing_figures(const PairingInput& input, const Codec& codec) {
  const PairingFidelity pairing = pairing_fidelity(input);
  const at::Tensor made = codec.decode(input.generated), images = codec.decode(input.images);
  const bool has_windows = std::min(images.size(2), images.size(3)) >= ssim_window;
  const at::Tensor likeness = has_windows ? ssim(made, images) : torch::full_like(pairing.ratio, std::nan(""));
  const at::Tensor ratio = psnr(made, images), differ = ratio.isfinite();
  return torch::stack({pairing.ratio, pairing.nearest.to(torch::kFloat64),
                       torch::where(differ, ratio, torch::zeros_like(ratio)), differ.to(torch::kFloat64), likeness},
                      1);
}

/// The pairing of one table with its images.
void measure_pairing_of(const FidelityTask& task, const RowTable& table, const RowTable& images,
                        const std::string& split) {
  const EvaluateConfig& config = task.context.config.evaluate;
  const RecordKey key = student_key(task, config.pairing_nfe, "table", split);
  if (config.pairing_rows == 0 || task.records.has(key, "ssim")) return;
  const Codec& codec = *task.shape.codec;
  const std::int64_t pool = std::min(pool_rows, images.rows());
  const at::Tensor pool_images = codec.encode(read_rows(images, "image", 0, pool));
  const at::Tensor pool_labels = read_rows(images, "label", 0, pool).to(torch::kInt64);
  // Samples stand in order in a table, so its first rows are those of the pool: rows at even distances among them.
  const std::int64_t candidates = table.rows() * pool / images.rows(), rows = std::min(config.pairing_rows, candidates);
  const double sigma_f = coupling_sigma(task.context.run);
  const at::Tensor mean =
      mean_over_rows(task, "pairing, " + split, rows, 5, [&](std::int64_t first, std::int64_t count) {
        std::vector<at::Tensor> z, x, labels, own;
        for (std::int64_t i = 0; i < count; ++i) {
          const std::int64_t row = std::min(first + i, rows - 1) * candidates / rows;
          const InitialNoise initial = table_noise(table, sigma_f, row, 1);
          z.push_back(initial.z);
          labels.push_back(initial.condition.labels);
          x.push_back(codec.encode(read_rows(table, "image", row, 1)));
          own.push_back(read_rows(table, "sample", row, 1));
        }
        const at::Tensor label = torch::cat(labels);
        const at::Tensor made = solve(task.flow.velocity({label.to(task.context.device), {}}),
                                      task.flow.start(torch::cat(z).to(task.context.device)), Solver::euler,
                                      Grid::uniform, config.pairing_nfe)
                                    .cpu();
        return pairing_figures({made, torch::cat(x), label, pool_images, pool_labels, torch::cat(own)}, codec);
      });
  keep(task, key, "pairing_distance_ratio", mean[0].item<double>(), rows);
  keep(task, key, "pairing_nearest_rate", mean[1].item<double>(), rows);
  const double differ = mean[3].item<double>();
  keep(task, key, "psnr", mean[2].item<double>() / differ, rows,
       {{"equal_pairs", rows - std::llround(differ * static_cast<double>(rows))}});
  keep(task, key, "ssim", mean[4].item<double>(), rows);
}

/// The first samples on their way from noise to image: at t = 1, 7/8 ... 0.
std::vector<at::Tensor> first_trajectories(const FidelityTask& task, std::uint64_t seed) {
  constexpr std::int64_t rows = 6, parts = 8;
  const StageContext& context = task.context;
  const InitialNoise initial = fresh_noise(task.shape, seed, 0, rows).to(context.device);
  return trajectory(task.flow.velocity(initial.condition), task.flow.start(initial.z),
                    context.config.evaluate.curvature_steps, parts);
}

}  // namespace

double coupling_sigma(const RunDirectory& run) {
  return RowTable(run.coupling(), coupling_format).summary().at("sigma_f").get<double>();
}

void measure_paths(const FidelityTask& task) {
  const EvaluateConfig& config = task.context.config.evaluate;
  const RecordKey key = student_key(task, config.curvature_steps, "fresh", "");
  if (config.curvature_samples == 0 || task.records.has(key, "transport_cost")) return;
  const auto seed = static_cast<std::uint64_t>(key.sampling_seed);
  const std::vector<double> times = deviation_times(config.curvature_steps);
  const auto figures = 3 + static_cast<std::int64_t>(times.size());
  const at::Tensor means =
      mean_over_rows(task, "paths", config.curvature_samples, figures, [&](std::int64_t first, std::int64_t count) {
        const InitialNoise initial = fresh_noise(task.shape, seed, first, count).to(task.context.device);
        const PathShape shape =
            path_shape(task.flow.velocity(initial.condition), task.flow.start(initial.z), config.curvature_steps);
        return torch::cat({torch::stack({shape.curvature, shape.straightness, shape.transport}, 1), shape.deviation},
                          1);
      });
  const at::Tensor along = means.narrow(0, 3, figures - 3).contiguous();
  const std::vector<double> deviation(along.data_ptr<double>(), along.data_ptr<double>() + along.numel());
  if (const StageContext& context = task.context; context.communicator.is_root()) {
    publish_trajectory(
        context.run.pictures() / fmt::format("{}-{}-trajectory.png", context.node.coupling, context.node.seed),
        first_trajectories(task, seed), *task.shape.codec);
  }
  keep(task, key, "curvature", means[0].item<double>(), config.curvature_samples,
       {{"times", times}, {"deviation", deviation}});
  keep(task, key, "straightness", means[1].item<double>(), config.curvature_samples);
  keep(task, key, "transport_cost", means[2].item<double>(), config.curvature_samples);
}

void measure_pairing(const FidelityTask& task) {
  measure_pairing_of(task, RowTable(task.context.run.coupling(), coupling_format), task.train, "train");
  measure_pairing_of(task, RowTable(task.context.run.coupling_test(), coupling_format), task.test, "test");
}

void measure_teacher_distance(const FidelityTask& task) {
  const Config& config = task.context.config;
  const RecordKey key = student_key(task, config.evaluate.pairing_nfe, "fresh", "");
  const CouplingKind& coupling = student_coupling(config.student, task.context.node.coupling);
  if (config.evaluate.pairing_rows == 0 || !coupling.table_of_teacher || task.records.has(key, "teacher_distance"))
    return;
  TarFlow teacher = load_teacher(task.context.run, config.teacher, task.shape, task.context.device);
  const TeacherSampling sampling{{}, denoising_std(config.teacher)};
  const auto seed = static_cast<std::uint64_t>(key.sampling_seed);
  const at::Tensor mean = mean_over_rows(
      task, "teacher distance", config.evaluate.pairing_rows, 1, [&](std::int64_t first, std::int64_t count) {
        const InitialNoise initial = fresh_noise(task.shape, seed, first, count).to(task.context.device);
        const at::Tensor theirs = sample_teacher(teacher, initial.z, initial.condition, sampling).images();
        const at::Tensor ours = solve(task.flow.velocity(initial.condition), task.flow.start(initial.z), Solver::euler,
                                      Grid::uniform, config.evaluate.pairing_nfe);
        return (ours - theirs).flatten(1).to(torch::kFloat64).norm(2, 1).cpu().unsqueeze(1);
      });
  keep(task, key, "teacher_distance", mean.item<double>(), config.evaluate.pairing_rows);
}

}  // namespace couplet
