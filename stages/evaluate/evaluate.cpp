#include "stages/evaluate/evaluate.h"

#include "method/couplings/coupling_table.h"
#include "method/data/images.h"
#include "method/models/patches.h"
#include "method/sampling/guided_field.h"
#include "method/sampling/starts.h"
#include "method/scoring/scorer.h"
#include "method/solvers/integration.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/weights.h"
#include "stages/evaluate/fidelity.h"
#include "stages/evaluate/likelihood_scores.h"
#include "stages/evaluate/pictures.h"
#include "stages/evaluate/row_sums.h"
#include "stages/evaluate/run_reference.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/results/score_record.h"
#include "stages/trained/models.h"
#include "storage/files/atomic_file.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace couplet {
namespace {

/// What the scoring of one node shares.
struct Evaluation {
  StageContext& context;
  RowTable train, test;
  DatasetShape shape;
  ScoreNetwork classifier;                   ///< of class accuracy
  ScoreNetwork network;                      ///< of Fréchet distances and their companions
  std::shared_ptr<const RealFeatures> real;  ///< none: no companions
  Scorer scorer;
  Records records;

  const EvaluateConfig& config() const { return context.config.evaluate; }
  /// The features behind a score are kept as they are made: they are of this network.
  SliceJournal journal(const std::string& what) const { return journal_of(context, what + ", by " + network.hash); }

  void keep(const RecordKey& key, const SampleScore& score, const nlohmann::json& details = nlohmann::json::object()) {
    for (const FeatureScore& one : score.comparison) {
      nlohmann::json fields = details;
      fields.update(one.details);
      records.add(key, one.metric, one.value, one.samples, network, score.nonfinite, fields);
    }
    records.add(key, "class_accuracy", score.class_accuracy, score.samples, classifier, score.nonfinite, details);
    if (score.nonfinite > 0) say("{} of {} samples held NaN or infinite values", score.nonfinite, score.samples);
    if (context.communicator.is_root()) records.publish();
  }
  /// The picture NAME-nearest.png of a score's samples and the training images nearest to them.
  void show_nearest(const std::string& name, const SampleScore& score) const {
    if (real)
      publish_nearest_picture(context.run.pictures() / (name + "-nearest.png"), score, *real, train,
                              context.communicator);
  }
};

Evaluation start_evaluation(StageContext& context) {
  RowTable train(context.run.train_images(), "couplet-dataset"), test(context.run.test_images(), "couplet-dataset");
  const DatasetShape shape = dataset_shape(train);
  const EvaluateConfig& config = context.config.evaluate;
  ScorerReference basis = run_reference(context, train, test);
  const ScoreNetwork network{basis.network->name(), basis.network->hash(), basis.network->resize()};
  const std::shared_ptr<const RealFeatures> real = basis.reference.real;
  Classifier classifier = load_classifier(context.run, context.config.features, shape, context.device);
  const ScoreNetwork of_accuracy{network_name(context.config), tensors_hash(named_tensors(*classifier)), "none"};
  Scorer scorer(std::move(classifier), std::move(basis), config.slice_rows, sheet_images(config.grid_rows),
                "evaluation stopped; finished scores and the samples counted so far are kept", context.communicator,
                context.device);
  Records records(context.directory());
  records.require_network(network);
  const std::string warning = sample_size_warning(config.samples);
  if (!warning.empty() && context.communicator.is_root()) warn_line("evaluate.samples: " + warning);
  context.communicator.barrier();
  return {context, std::move(train),  std::move(test),   shape, of_accuracy, network,
          real,    std::move(scorer), std::move(records)};
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
      1, run.test.rows(), run.journal("real"))[0];
  run.keep(key, score);
  say("real test images: Fréchet distance {:.4f} to the training images ({})", score.frechet_distance,
      run.network.name);
}

/// The teacher's samples of fresh noise, as they come (with the noise it was trained on) and denoised.
void score_teacher(Evaluation& run, std::int64_t sampling_seed) {
  StageContext& context = run.context;
  const EvaluateConfig& config = run.config();
  const TeacherConfig& teacher_config = context.config.teacher;
  const bool denoises = teacher_config.noise == "gaussian" && teacher_config.noise_std > 0;
  RecordKey key{.model = "teacher",
                .seed = context.config.pipeline.seed,
                .solver = "autoregressive",
                .noise = "fresh",
                .sampling_seed = sampling_seed,
                .guidance = config.teacher_guidance,
                .denoised = denoises};
  if (run.records.has(key, "frechet_distance")) return;  // the last one kept
  TarFlow teacher = load_teacher(context.run, teacher_config, run.shape, context.device);
  const TarFlowSampling sampling{config.teacher_guidance, config.teacher_annealed, config.teacher_temperature};
  const std::vector<SampleScore> scores = run.scorer.score(
      [&](std::int64_t first, std::int64_t count) {
        const Starts starts = fresh_starts(run.shape, static_cast<std::uint64_t>(sampling_seed), first, count);
        const at::Tensor labels = starts.labels.to(context.device);
        const Autocast autocast(config.precision, context.device);
        const at::Tensor raw =
            teacher->reverse(patchify(starts.z, teacher->options().patch).to(context.device), labels, sampling)
                .to(torch::kFloat32);
        Generated made{{raw}, starts.labels};
        if (denoises) made.variants.push_back(denoise(teacher, raw, labels, teacher_config.noise_std));
        return made;
      },
      denoises ? 2 : 1, config.samples, run.journal(fmt::format("teacher, sampling seed {}", sampling_seed)));
  for (std::size_t variant = 0; variant < scores.size(); ++variant) {
    key.denoised = variant == 1;
    const bool is_pictured = sampling_seed == config.sampling_seeds.front();
    if (context.communicator.is_root() && is_pictured) {
      publish_sheet(context.run.pictures() / (key.denoised ? "teacher-denoised.png" : "teacher.png"),
                    scores[variant].pictures);
    }
    if (is_pictured && variant + 1 == scores.size()) run.show_nearest("teacher", scores[variant]);
    if (!run.records.has(key, "frechet_distance")) run.keep(key, scores[variant]);
    say("teacher{}: Fréchet distance {:.4f}, class accuracy {:.3f} ({} samples, {})", key.denoised ? ", denoised" : "",
        scores[variant].frechet_distance, scores[variant].class_accuracy, scores[variant].samples, run.network.name);
  }
  say("pictures: {}", (context.run.pictures() / "teacher.png").string());
}

RecordKey student_key(const Evaluation& run, const Sampling& sampling) {
  const EvaluateConfig& config = run.config();
  return {.model = "student",
          .coupling = run.context.node.coupling,
          .seed = run.context.node.seed,
          .solver = sampling.integration.name(),
          .grid = sampling.integration.grid,
          .nfe = sampling.integration.nfe(),
          .noise = sampling.table ? "table" : "fresh",
          .sampling_seed = sampling.seed,
          .split = sampling.table ? "test" : "",
          .guidance = config.guidance,
          .guidance_from = config.guidance_from,
          .guidance_to = config.guidance_to};
}

/// What dopri5's records say besides.
nlohmann::json adaptive_details(const Tolerance& tolerance, const SampleScore& score) {
  return {{"atol", tolerance.absolute},
          {"rtol", tolerance.relative},
          {"nfe_mean", score.nfe_mean},
          {"nfe_min", score.nfe_least},
          {"nfe_max", score.nfe_most}};
}

void score_student(Evaluation& run, const VelocityOf& velocity, const RowTable& held_out, const Sampling& sampling,
                   bool shows_nearest) {
  StageContext& context = run.context;
  const EvaluateConfig& config = run.config();
  const Integration& integration = sampling.integration;
  RecordKey key = student_key(run, sampling);
  if (run.records.has(key, "frechet_distance")) return;
  const auto seed = static_cast<std::uint64_t>(sampling.seed);
  const double sigma_f = sampling.table ? coupling_sigma(context.run) : 1;
  const SampleScore score = run.scorer.score(
      [&](std::int64_t first, std::int64_t count) {
        const Starts starts = sampling.table ? table_starts(held_out, sigma_f, first, count)
                                             : fresh_starts(run.shape, seed, first, count);
        const Integrated made =
            integrate(velocity(starts.labels.to(context.device)), starts.z.to(context.device), integration);
        return Generated{{made.x}, starts.labels, made.nfe};
      },
      1, sampling.table ? std::min(config.samples, held_out.rows()) : config.samples,
      run.journal(fmt::format("{} {} {}", key.noise, sampling.seed, integration.text())))[0];
  if (context.communicator.is_root() && (sampling.table || sampling.seed == config.sampling_seeds.front())) {
    publish_sheet(context.run.pictures() / fmt::format("{}-{}-{}-{}.png", context.node.coupling, context.node.seed,
                                                       key.noise, sampling.file_name()),
                  score.pictures);
  }
  if (shows_nearest) run.show_nearest(fmt::format("{}-{}", context.node.coupling, context.node.seed), score);
  if (integration.adaptive()) {
    key.nfe = std::llround(score.nfe_mean);
    run.keep(key, score, adaptive_details(integration.tolerance, score));
    say("dopri5 made {:.1f} evaluations a sample ({} to {} a batch)", score.nfe_mean, score.nfe_least, score.nfe_most);
  } else {
    run.keep(key, score);
  }
  say("{} {}{}: Fréchet distance {:.4f}, class accuracy {:.3f}", context.node.coupling, integration.text(),
      sampling.table ? " from held-out table z" : "", score.frechet_distance, score.class_accuracy);
}

/// What fresh noise, of the first sampling seed, costs against held-out table noise, where both are over as many
/// samples.
void compare_noise(Evaluation& run, const Sampling& sampling) {
  const RecordKey key = student_key(run, sampling),
                  fresh_key = student_key(run, {sampling.integration, run.config().sampling_seeds.front()});
  if (run.records.has(key, "prior_mismatch")) return;
  const auto table = run.records.find(key, "frechet_distance"), fresh = run.records.find(fresh_key, "frechet_distance");
  if (!table || !fresh || table->at("value").is_null() || fresh->at("value").is_null()) return;
  const auto samples = table->at("samples").get<std::int64_t>();
  if (fresh->at("samples") != samples) {
    say("no prior mismatch at NFE {}: {} held-out table rows against {} samples of fresh noise", key.nfe, samples,
        fresh->at("samples").get<std::int64_t>());
    return;
  }
  run.records.add(key, "prior_mismatch", fresh->at("value").get<double>() - table->at("value").get<double>(), samples,
                  run.network);
  if (run.context.communicator.is_root()) run.records.publish();
}

void evaluate_student(Evaluation& run) {
  StageContext& context = run.context;
  const EvaluateConfig& config = run.config();
  const SiT model = load_student(context.run, context.config.student, context.node.coupling, context.node.seed,
                                 run.shape, context.device);
  const RowTable held_out(context.run.coupling_test(), coupling_format);
  const Guidance guidance{config.guidance, config.guidance_from, config.guidance_to};
  const VelocityOf velocity = [&](const at::Tensor& labels) {
    return student_field(model, labels, guidance, config.precision);
  };
  const std::vector<Sampling> all = samplings(config, context.node.coupling);
  // The best samples of fresh noise: those of the most evaluations.
  const auto finest = std::ranges::max_element(all, {}, [](const Sampling& one) { return one.integration.nfe(); });
  for (const Sampling& sampling : all) {
    score_student(run, velocity, held_out, sampling, &sampling == &*finest);
    if (sampling.table) compare_noise(run, sampling);
  }
  const FidelityTask task{context, run.train, run.test, run.shape, velocity, run.records};
  measure_paths(task);
  measure_pairing(task);
  measure_teacher_distance(task);
  measure_student_likelihood(context, run.records, run.test, model);
}

/// Removes what killed evaluations left unfinished in the folders that all nodes share.
void tidy(const RunDirectory& run) {
  for (const fs::path& folder : {run.results().parent_path(), run.pictures()})
    if (fs::exists(folder)) remove_leftovers(folder, Ownership::shared);
}

}  // namespace

void evaluate(StageContext& context) {
  if (context.communicator.is_root()) tidy(context.run);
  Evaluation run = start_evaluation(context);
  if (context.node.coupling.empty()) {
    score_real(run);
    for (const std::int64_t seed : run.config().sampling_seeds) score_teacher(run, seed);
    measure_teacher_likelihood(context, run.records, run.test, run.shape);
  } else {
    evaluate_student(run);
  }
  if (!context.communicator.is_root()) return;
  fs::remove(journal_of(context, "").path);
  merge_results(context.run, stage_graph(context.config));
}

}  // namespace couplet
