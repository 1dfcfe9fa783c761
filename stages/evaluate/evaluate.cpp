#include "stages/evaluate/evaluate.h"

#include "pipeline/autocast.h"
#include "pipeline/log.h"
#include "pipeline/patches.h"
#include "stages/couple/coupling_table.h"
#include "stages/evaluate/fidelity.h"
#include "stages/evaluate/results.h"
#include "stages/evaluate/samplings.h"
#include "stages/evaluate/scorer.h"
#include "stages/evaluate/solver.h"
#include "stages/evaluate/starts.h"
#include "stages/student/model.h"
#include "stages/teacher/model.h"
#include "storage/atomic_file.h"
#include "storage/picture.h"

#include <torch/torch.h>

#include <chrono>

namespace couplet {
namespace {

/// Publishes the first samples as a picture, `columns` a row.
void publish_pictures(const fs::path& path, const at::Tensor& images, std::int64_t columns) {
  fs::create_directories(path.parent_path());
  write_png(path, picture_of(images, columns));
}

/// What the scoring of one node shares.
struct Evaluation {
  StageContext& context;
  RowTable train, test;
  DatasetShape shape;
  std::string network;
  Scorer scorer;
  Records records;

  const EvaluateConfig& config() const { return context.config.evaluate; }
  std::uint64_t seed() const { return static_cast<std::uint64_t>(context.config.pipeline.seed); }

  void keep(const RecordKey& key, const SampleScore& score) {
    records.add(key, "frechet_distance", score.frechet_distance, score.samples, network, score.nonfinite);
    records.add(key, "class_accuracy", score.class_accuracy, score.samples, network, score.nonfinite);
    if (score.nonfinite > 0) say("{} of {} samples held NaN or infinite values", score.nonfinite, score.samples);
    if (context.communicator.is_root()) records.publish();
  }
};

Evaluation start_evaluation(StageContext& context) {
  RowTable train(context.run.train_images(), "couplet-dataset"), test(context.run.test_images(), "couplet-dataset");
  const DatasetShape shape = dataset_shape(train);
  const EvaluateConfig& config = context.config.evaluate;
  Scorer scorer(load_classifier(context.run, context.config.features, shape, context.device),
                load_moments(context.run.reference_statistics()), config.slice_rows, config.grid_rows * shape.classes,
                "evaluation stopped; finished scores are kept", context.communicator, context.device);
  context.communicator.barrier();
  return {context,
          std::move(train),
          std::move(test),
          shape,
          network_name(context.config),
          std::move(scorer),
          Records(context.directory())};
}

/// Held-out images scored like samples: how far two real sets of this size are apart.
void score_real(Evaluation& run) {
  const RecordKey key{.model = "real", .split = "test"};
  if (run.records.has(key, "frechet_distance")) return;
  const SampleScore score = run.scorer.score(
      [&](std::int64_t first, std::int64_t count) {
        const std::int64_t there = std::min(count, run.test.rows() - first);
        const at::Tensor rows = torch::arange(count).clamp_max(there - 1);
        return Generated{{to_float(read_rows(run.test, "image", first, there)).index_select(0, rows)},
                         read_rows(run.test, "label", first, there).to(torch::kInt64).index_select(0, rows)};
      },
      1, run.test.rows())[0];
  run.keep(key, score);
  say("real test images: Fréchet distance {:.4f} to the training images ({})", score.frechet_distance, run.network);
}

/// The teacher's samples of fresh noise, as they come (with the noise it was trained on) and denoised.
void score_teacher(Evaluation& run) {
  StageContext& context = run.context;
  const EvaluateConfig& config = run.config();
  const TeacherConfig& teacher_config = context.config.teacher;
  RecordKey key{.model = "teacher",
                .seed = context.config.pipeline.seed,
                .solver = "autoregressive",
                .noise = "fresh",
                .guidance = config.teacher_guidance};
  if (run.records.has(key, "frechet_distance")) return;
  const bool denoises = teacher_config.noise == "gaussian" && teacher_config.noise_std > 0;
  TarFlow teacher = load_teacher(context.run, teacher_config, run.shape, context.device);
  const TarFlowSampling sampling{config.teacher_guidance, config.teacher_annealed, config.teacher_temperature};
  const std::vector<SampleScore> scores = run.scorer.score(
      [&](std::int64_t first, std::int64_t count) {
        const Starts starts = fresh_starts(run.shape, run.seed(), first, count);
        const at::Tensor labels = starts.labels.to(context.device);
        const Autocast autocast(config.precision, context.device);
        const at::Tensor raw =
            teacher->reverse(patchify(starts.z, teacher->options().patch).to(context.device), labels, sampling)
                .to(torch::kFloat32);
        Generated made{{raw}, starts.labels};
        if (denoises) made.variants.push_back(denoise(teacher, raw, labels, teacher_config.noise_std));
        return made;
      },
      denoises ? 2 : 1, config.samples);
  for (std::size_t variant = 0; variant < scores.size(); ++variant) {
    key.denoised = variant == 1;
    if (context.communicator.is_root()) {
      publish_pictures(context.run.pictures() / (key.denoised ? "teacher-denoised.png" : "teacher.png"),
                       scores[variant].pictures, run.shape.classes);
    }
    run.keep(key, scores[variant]);
    say("teacher{}: Fréchet distance {:.4f}, class accuracy {:.3f} ({} samples, {})", key.denoised ? ", denoised" : "",
        scores[variant].frechet_distance, scores[variant].class_accuracy, scores[variant].samples, run.network);
  }
  say("pictures: {}", (context.run.pictures() / "teacher.png").string());
}

void score_student(Evaluation& run, const VelocityOf& velocity, const RowTable& held_out, const Sampling& sampling) {
  StageContext& context = run.context;
  const EvaluateConfig& config = run.config();
  const std::string solver(solver_name(sampling.solver)), grid(grid_name(sampling.grid));
  const RecordKey key{.model = "student",
                      .coupling = context.node.coupling,
                      .seed = context.node.seed,
                      .solver = solver,
                      .grid = grid,
                      .nfe = sampling.nfe,
                      .noise = sampling.table ? "table" : "fresh",
                      .split = sampling.table ? "test" : "",
                      .guidance = config.guidance};
  if (run.records.has(key, "frechet_distance")) return;
  const double sigma_f = sampling.table ? coupling_sigma(context.run) : 1;
  const SampleScore score = run.scorer.score(
      [&](std::int64_t first, std::int64_t count) {
        const Starts starts = sampling.table ? table_starts(held_out, sigma_f, first, count)
                                             : fresh_starts(run.shape, run.seed(), first, count);
        const at::Tensor images = solve(velocity(starts.labels.to(context.device)), starts.z.to(context.device),
                                        sampling.solver, sampling.grid, sampling.nfe);
        return Generated{{images}, starts.labels};
      },
      1, sampling.table ? std::min(config.samples, held_out.rows()) : config.samples)[0];
  if (context.communicator.is_root()) {
    publish_pictures(context.run.pictures() / fmt::format("{}-{}-{}-{}-{}-nfe-{:02d}.png", context.node.coupling,
                                                          context.node.seed, key.noise, solver, grid, sampling.nfe),
                     score.pictures, run.shape.classes);
  }
  run.keep(key, score);
  say("{} {} {} NFE {}{}: Fréchet distance {:.4f}, class accuracy {:.3f}", context.node.coupling, solver, grid,
      sampling.nfe, sampling.table ? " from held-out table z" : "", score.frechet_distance, score.class_accuracy);
}

void evaluate_student(Evaluation& run) {
  StageContext& context = run.context;
  const EvaluateConfig& config = run.config();
  SiT model = load_student(context.run, context.config.student, context.node.coupling, context.node.seed, run.shape,
                           context.device);
  const RowTable held_out(context.run.coupling_test(), coupling_format);
  const VelocityOf velocity = [&](const at::Tensor& labels) -> VelocityField {
    return [&, labels](const at::Tensor& x, double t) {
      const Autocast autocast(config.precision, context.device);
      const at::Tensor times = torch::full({x.size(0)}, t, x.options());
      return config.guidance == 1 ? model->forward(x, times, labels)
                                  : model->guided_velocity(x, times, labels, config.guidance);
    };
  };
  for (const Sampling& sampling : samplings(config, context.node.coupling))
    score_student(run, velocity, held_out, sampling);
  const FidelityTask task{context, run.train, run.test, run.shape, run.network, velocity, run.records};
  measure_curvature(task);
  measure_pairing(task);
  measure_teacher_distance(task);
}

}  // namespace

void evaluate(StageContext& context) {
  Evaluation run = start_evaluation(context);
  if (context.node.coupling.empty()) {
    score_real(run);
    score_teacher(run);
  } else {
    evaluate_student(run);
  }
  if (context.communicator.is_root()) merge_results(context.run, stage_graph(context.config));
}

}  // namespace couplet
