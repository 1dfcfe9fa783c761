#include "stages/evaluate/evaluate.h"

#include "method/data/images.h"
#include "method/metrics/image_similarity.h"
#include "method/sampling/candidates.h"
#include "method/sampling/guided_field.h"
#include "method/sampling/initial_noise.h"
#include "method/sampling/teacher_sampler.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/measured_memory.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/fitting_rows.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/evaluate/evaluation.h"
#include "stages/evaluate/fidelity.h"
#include "stages/evaluate/likelihood_scores.h"
#include "stages/evaluate/pictures.h"
#include "stages/evaluate/point_pictures.h"
#include "stages/evaluate/score_requests.h"
#include "stages/evaluate/solver_errors.h"
#include "stages/evaluate/table_noise.h"
#include "stages/results/field_setting.h"
#include "stages/results/metric_names.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// The picture NAME-nearest.png of a score's samples and the training images nearest to them.
void show_nearest(Evaluation& evaluation, const SampleScore& score) {
  if (const RealFeatures* real = evaluation.real(); real != nullptr)
    publish_nearest_picture(evaluation.context.run.pictures() / (evaluation.model_name() + "-nearest.png"), score,
                            *real, evaluation.train_images(), evaluation.context.communicator);
}

/// The picture NAME-restored.png: low resolution, what a score's samples made of it, and image.
void show_restorations(const Evaluation& evaluation, const SampleScore& score) {
  const LowResolution& low = evaluation.shape.low_resolution;
  if (!low.is_given() || !evaluation.context.communicator.is_root()) return;
  const std::int64_t count = std::min(score.pictures.size(0), evaluation.test.rows());
  const at::Tensor images = evaluation.shape.codec->pixels(read_rows(evaluation.test, "image", 0, count));
  publish_restorations(evaluation.context.run.pictures() / (evaluation.model_name() + "-restored.png"),
                       score.pictures.narrow(0, 0, count), images, low);
}

/// "Fréchet distance 12.3456, class accuracy 0.912": the first metric, and what else there is.
std::string figures_text(const SampleScore& score) {
  std::string text = score.comparison.empty()
                         ? "no network to score by"
                         : fmt::format("{} {:.4f}", metric_name(score.comparison.front().metric).title,
                                       score.comparison.front().value);
  if (score.class_accuracy) text += fmt::format(", class accuracy {:.3f}", *score.class_accuracy);
  return text;
}

/// ", built-in classifier": what images were described by; "" where they were not.
std::string by_network(Evaluation& evaluation) {
  const std::string& name = evaluation.network().name;
  return name.empty() ? "" : ", " + name;
}

/// The picture of a score's samples: a sheet of images, or points of the plane.
void show_samples(const Evaluation& evaluation, const fs::path& path, const SampleScore& score) {
  if (score.points.defined())
    return publish_points(evaluation, fs::path(path).replace_extension(".json"), score.points);
  publish_sheet(path, score.pictures);
}

/// Held-out images scored like samples: how far two real sets of this size are apart.
void score_real(Evaluation& evaluation, const ScoreRequest& request) {
  const RowTable& test = evaluation.test;
  const SampleScore score = evaluation.score(request, test.rows(), [&](std::int64_t first, std::int64_t count) {
    const std::int64_t there = std::min(count, test.rows() - first);
    const at::Tensor rows = at::arange(count).clamp_max(there - 1);
    const at::Tensor labels = read_rows(test, "label", first, there).to(at::kLong).index_select(0, rows);
    if (has_latents(evaluation.context.config)) {
      at::Tensor pixels = read_rows(evaluation.test_images(), "image", first, there);
      if (&evaluation.test_images() == &test) pixels = evaluation.shape.codec->pixels(pixels);
      return Generated{{pixels.index_select(0, rows)}, labels};
    }
    return evaluation.with_figures({{evaluation.table_images(test, first, count)}, labels}, test, first);
  });
  evaluation.keep_samples(request.key, request.with, score);
  if (score.points.defined() && evaluation.context.communicator.is_root())
    publish_data_panels(evaluation, evaluation.context.run.pictures() / "data.json");
  say("held-out images: {} to the training images ({} samples{})", figures_text(score), score.samples,
      by_network(evaluation));
}

/// What is left of held-out images that become latents and images again, scored like samples: the best that a model of
/// latents can make. Means of the latents are decoded, not draws.
void score_reconstruction(Evaluation& evaluation, const ScoreRequest& request) {
  const RowTable &latents = evaluation.test, &images = evaluation.test_images();
  const SampleScore score = evaluation.scorer().score(
      [&](std::int64_t first, std::int64_t count) {
        const std::int64_t there = std::min(count, latents.rows() - first);
        const at::Tensor rows = at::arange(count).clamp_max(there - 1);
        const auto read = [&](const RowTable& table, const char* column) {
          return read_rows(table, column, first, there).index_select(0, rows);
        };
        const at::Tensor made =
            evaluation.shape.codec->pixels(read(latents, "image").to(evaluation.context.device)).cpu();
        const at::Tensor whole = read(images, "image"), ratio = psnr(made, whole), differ = ratio.isfinite();
        Generated generated{{made}, read(latents, "label").to(at::kLong)};
        generated.figures =
            at::stack({at::where(differ, ratio, at::zeros_like(ratio)), differ.to(at::kDouble), ssim(made, whole)}, 1);
        return generated;
      },
      1, latents.rows(), evaluation.journal(request), 3)[0];
  const double differing = score.figures[1].item<double>(), ratio = score.figures[0].item<double>() / differing;
  const auto equal = std::llround((1 - differing) * static_cast<double>(score.samples));
  evaluation.records.add(request.key, "psnr", request.with, ratio, score.samples, {}, 0, {{"equal_pairs", equal}});
  evaluation.records.add(request.key, "ssim", request.with, score.figures[2].item<double>(), score.samples, {});
  SampleScore others = score;
  others.figures = at::Tensor();  // those of a restoration
  evaluation.keep_samples(request.key, request.with, others);
  if (evaluation.context.communicator.is_root())
    show_samples(evaluation, evaluation.context.run.pictures() / "reconstruction.png", score);
  say("held-out images, decoded from their latents: {}, PSNR {:.2f} dB", figures_text(score), ratio);
}

/// The enlarged low resolution of the held-out images, scored like samples: what restoring has to add to.
void score_upsampling(Evaluation& evaluation, const ScoreRequest& request) {
  const RowTable& test = evaluation.test;
  const SampleScore score = evaluation.score(request, test.rows(), [&](std::int64_t first, std::int64_t count) {
    const Condition given = evaluation.student_noise(0, first, count).condition;
    return evaluation.with_figures({{given.image}, given.labels}, test, first);
  });
  evaluation.keep_samples(request.key, request.with, score);
  say("enlarged low resolution of held-out images: {}", figures_text(score));
}

/// The teacher's samples of fresh noise, as they come (with the noise it was trained on) and denoised.
void score_teacher(Evaluation& evaluation, const ScoreRequest& request) {
  StageContext& context = evaluation.context;
  const EvaluateConfig& config = evaluation.config();
  const bool is_pictured = request.key.sampling_seed == config.sampling_seeds[0];
  TarFlow teacher = load_teacher(context.run.teacher_ema(), context.config.teacher, evaluation.shape, context.device,
                                 context.communicator);
  const TeacherSampling sampling{{config.teacher_guidance, config.teacher_annealed, config.teacher_temperature},
                                 teacher_noise(context.config.teacher),
                                 config.precision};
  const auto seed = static_cast<std::uint64_t>(request.key.sampling_seed);
  const std::vector<SampleScore> scores = evaluation.scorer().score(
      [&](std::int64_t first, std::int64_t count) {
        const InitialNoise initial = fresh_noise(evaluation.shape, seed, first, count);
        const TeacherSamples samples = sample_teacher(teacher, initial.z, initial.condition, sampling);
        Generated made{{samples.raw}, initial.condition.labels};
        if (request.key.denoised) made.variants.push_back(samples.denoised);
        return made;
      },
      request.key.denoised ? 2 : 1, config.samples, evaluation.journal(request));
  for (std::size_t variant = 0; variant < scores.size(); ++variant) {
    ScoreKey key = request.key;
    key.denoised = variant == 1;
    if (context.communicator.is_root() && is_pictured)
      show_samples(evaluation, context.run.pictures() / (key.denoised ? "teacher-denoised.png" : "teacher.png"),
                   scores[variant]);
    if (is_pictured && variant + 1 == scores.size()) show_nearest(evaluation, scores[variant]);
    if (!evaluation.records.has(key, request.last_metric, request.with))
      evaluation.keep_samples(key, request.with, scores[variant]);
    say("teacher{}: {} ({} samples{})", key.denoised ? ", denoised" : "", figures_text(scores[variant]),
        scores[variant].samples, by_network(evaluation));
  }
  if (is_pictured) say("pictures: {}", (context.run.pictures() / "teacher.png").string());
}

/// What dopri5's records say besides.
nlohmann::json evaluations_made(const SampleScore& score) {
  return {{"nfe_mean", score.nfe_mean}, {"nfe_min", score.nfe_least}, {"nfe_max", score.nfe_most}};
}

/// By what samples of the student that is scored choose among several noises: the classifier of its own table.
LogRatio candidate_ratio(Evaluation& evaluation) {
  const StageContext& context = evaluation.context;
  const auto table = table_of_student(context.config, context.node.student);
  return log_ratio_of(evaluation.noise_classifier(table.value().name), context.device);
}

SampleScore sample_student(Evaluation& evaluation, const ScoreRequest& request) {
  const SamplingSetting& sampling = *request.sampling;
  const bool from_table = !sampling.table.empty();
  const c10::Device device = evaluation.context.device;
  const StudentFlow flow = evaluation.flow(sampling.field);
  std::optional<RowTable> held_out;
  if (from_table) held_out.emplace(evaluation.table(sampling.table, "test"));
  const double sigma_f = from_table ? evaluation.sigma_f(sampling.table) : 1;
  const auto seed = static_cast<std::uint64_t>(sampling.seed);
  const std::int64_t samples = evaluation.config().samples;
  const LogRatio log_ratio = sampling.candidates > 1 ? candidate_ratio(evaluation) : LogRatio();
  return evaluation.score(
      request, from_table ? std::min(samples, held_out->rows()) : samples, [&](std::int64_t first, std::int64_t count) {
        const InitialNoise initial = (from_table ? evaluation.table_noise(*held_out, sigma_f, first, count)
                                                 : with_candidates(evaluation.student_noise(seed, first, count),
                                                                   sampling.candidates, seed, first, log_ratio))
                                         .to(device);
        const Integrated made = integrate(flow.velocity(initial.condition), flow.start(initial.z, initial.condition),
                                          sampling.integration, flow.along(solver_noise(initial.z, seed, first)));
        return evaluation.with_figures({{made.x}, initial.condition.labels, made.nfe},
                                       from_table ? *held_out : evaluation.test, first);
      });
}

void score_student(Evaluation& evaluation, const ScoreRequest& request, bool shows_best) {
  const StageContext& context = evaluation.context;
  const SamplingSetting& sampling = *request.sampling;
  const SampleScore score = sample_student(evaluation, request);
  const bool is_pictured = !sampling.table.empty() || sampling.seed == evaluation.config().sampling_seeds[0];
  if (context.communicator.is_root() && is_pictured)
    show_samples(evaluation,
                 context.run.pictures() / sheet_name(evaluation.model_name(), request.key.noise, sampling.integration,
                                                     sampling.field, evaluation.student(), sampling.candidates),
                 score);
  if (shows_best) {
    show_nearest(evaluation, score);
    show_restorations(evaluation, score);
  }
  ScoreKey key = request.key;
  if (key.is_adaptive()) {
    key.nfe = std::llround(score.nfe_mean);
    say("dopri5 made {:.1f} evaluations a sample ({} to {} a batch)", score.nfe_mean, score.nfe_least, score.nfe_most);
  }
  evaluation.keep_samples(key, request.with, score,
                          key.is_adaptive() ? evaluations_made(score) : nlohmann::json::object());
  say("{} {}{}{}{}: {}", context.node.student, sampling.integration.text(),
      sampling.table.empty() ? "" : " from held-out table noise", field_text(sampling.field, evaluation.student()),
      sampling.candidates > 1 ? fmt::format(", {} candidates", sampling.candidates) : "", figures_text(score));
}

/// What fresh noise, of the first sampling seed, costs against the held-out noise of a table, where both are over as
/// many samples.
void compare_noise(Evaluation& evaluation, const ScoreRequest& of_table, const std::vector<ScoreRequest>& requests) {
  const ScoreKey& key = of_table.key;
  const auto is_fresh = [&](const ScoreRequest& other) {
    return other.sampling && other.key.noise == "fresh" && other.key.solver == key.solver &&
           other.key.grid == key.grid && other.key.nfe == key.nfe && other.key.ema == key.ema &&
           other.key.guidance == key.guidance && other.key.temperature == key.temperature &&
           other.key.candidates == key.candidates;
  };
  const auto of_fresh = std::ranges::find_if(requests, is_fresh);
  if (of_fresh == requests.end() || evaluation.records.has(key, "prior_mismatch", of_table.with)) return;
  const auto table = evaluation.records.find(key, "frechet_distance", of_table.with),
             fresh = evaluation.records.find(of_fresh->key, "frechet_distance", of_fresh->with);
  if (!table || !fresh || table->at("value").is_null() || fresh->at("value").is_null()) return;
  const auto samples = table->at("samples").get<std::int64_t>();
  if (fresh->at("samples") != samples) {
    say("no prior mismatch at NFE {}: {} held-out table rows against {} samples of fresh noise", key.nfe, samples,
        fresh->at("samples").get<std::int64_t>());
    return;
  }
  evaluation.records.add(key, "prior_mismatch", of_table.with,
                         fresh->at("value").get<double>() - table->at("value").get<double>(), samples,
                         evaluation.network());
  if (evaluation.context.communicator.is_root()) evaluation.records.publish();
}

/// The best samples of fresh noise are shown beside training images: those of the most evaluations.
const ScoreRequest* finest(const std::vector<ScoreRequest>& requests) {
  const auto nfe = [](const ScoreRequest& request) { return request.sampling ? request.key.nfe : -1; };
  const auto found = std::ranges::max_element(requests, {}, nfe);
  return found == requests.end() || !found->sampling ? nullptr : &*found;
}

/// All at once, since they share what they are compared with.
std::vector<ScoreRequest> missing_solver_errors(const Evaluation& evaluation,
                                                const std::vector<ScoreRequest>& requests) {
  std::vector<ScoreRequest> missing;
  std::ranges::copy_if(requests, std::back_inserter(missing), [&](const ScoreRequest& request) {
    return request.measurement == Measurement::solver_error && !request.is_in(evaluation.records);
  });
  return missing;
}

void make_score(Evaluation& evaluation, const ScoreRequest& request, const std::vector<ScoreRequest>& requests) {
  switch (request.measurement) {
    case Measurement::real_images:
      return score_real(evaluation, request);
    case Measurement::reconstruction:
      return score_reconstruction(evaluation, request);
    case Measurement::upsampling:
      return score_upsampling(evaluation, request);
    case Measurement::samples:
      if (request.sampling) return score_student(evaluation, request, &request == finest(requests));
      return score_teacher(evaluation, request);
    case Measurement::paths:
      return measure_paths(evaluation, request);
    case Measurement::pairing:
      return measure_pairing(evaluation, request);
    case Measurement::teacher_distance:
      return measure_teacher_distance(evaluation, request);
    case Measurement::solver_error:
      return measure_solver_errors(evaluation, missing_solver_errors(evaluation, requests));
    case Measurement::prior_gap:
      return measure_prior_gap(evaluation, request);
    case Measurement::noise_test:
      return test_noise(evaluation, request);
    case Measurement::likelihood:
      if (request.key.model == "student") return measure_student_likelihood(evaluation, request);
      if (request.key.model == "real") return measure_known_likelihood(evaluation, request);
      return measure_teacher_likelihood(evaluation, request);
  }
}

/// What is asked of students says nothing of a teacher alone.
void say_without_students(const StageContext& context) {
  const EvaluateConfig &asked = context.config.evaluate, usual = default_config().evaluate;
  std::vector<std::string> keys;
  if (asked.guidance != usual.guidance) keys.emplace_back("evaluate.guidance");
  if (asked.temperature != usual.temperature) keys.emplace_back("evaluate.temperature");
  if (asked.candidates != usual.candidates) keys.emplace_back("evaluate.candidates");
  if (asked.ema != usual.ema) keys.emplace_back("evaluate.ema");
  if (keys.empty() || !context.config.compare.empty() || context.node.name != "evaluate/teacher") return;
  say("the run has no students (student.compare), and {} changes nothing: the teacher is sampled by its first average, "
      "guided by evaluate.teacher-guidance",
      fmt::join(keys, ", "));
}

/// Which temperature to try: that at which fresh noise is as large as the held-out noise of the student's table.
void say_size_of_noise(const Evaluation& evaluation, const std::vector<ScoreRequest>& requests) {
  const auto from_table = [](const ScoreRequest& request) {
    return request.sampling && !request.sampling->table.empty();
  };
  const auto found = std::ranges::find_if(requests, from_table);
  if (found == requests.end()) return;
  const std::string& table = found->sampling->table;
  const double size = evaluation.table(table, "test").summary().at("sigma_f").get<double>() / evaluation.sigma_f(table);
  say("held-out noise of the table {}: mean square {:.4f}, that of fresh noise at evaluate.temperature = {:.4f}", table,
      size * size, size);
}

/// Removes what killed evaluations left unfinished in the folders that all nodes share.
void tidy(const RunDirectory& run) {
  for (const fs::path& folder : {run.results().parent_path(), run.pictures()})
    if (fs::exists(folder)) remove_leftovers(folder, Ownership::shared);
}

/// Makes a score of as many rows at once as fit into a GPU. Where memory runs out all the same, the error names the
/// score.
void within_memory(const StageContext& context, DeviceMemory& memory, const ScoreRequest& request,
                   const std::function<void()>& work) {
  const FittingRows fitting(memory.is_host() ? nullptr : &memory, context.config.evaluate.rows_at_once,
                            "evaluate.rows-at-once");
  try {
    work();
  } catch (const std::exception& error) {
    if (!is_exhaustion(error)) throw;
    fail(
        "{}: memory ran out on the way to {} of {}: {}; finished scores are kept, and the same command goes on with "
        "the "
        "samples that were counted",
        context.node.name, request.last_metric, request.key.model, words_of(error));
  }
  if (const auto rows = fitting.fewest()) say("{} rows at once fitted into memory", *rows);
}

}  // namespace

void evaluate(StageContext& context) {
  if (context.communicator.is_root()) tidy(context.run);
  Evaluation evaluation(context);
  const std::vector<ScoreRequest> requests = score_requests(context.node, context.view());
  say_without_students(context);
  say_size_of_noise(evaluation, requests);
  const std::unique_ptr<DeviceMemory> memory = measured_memory(context.device, context.communicator);
  for (const ScoreRequest& request : requests) {
    if (!request.is_in(evaluation.records))
      within_memory(context, *memory, request, [&] { make_score(evaluation, request, requests); });
    if (request.sampling && !request.sampling->table.empty()) compare_noise(evaluation, request, requests);
  }
  if (!context.communicator.is_root()) return;
  fs::remove(score_journal(context));
  publish_results(context.view());
}

std::string scores_to_make(const StageNode& node, const RunView& view) {
  const auto all = score_requests(node, view).size(), missing = missing_scores(node, view).size();
  return missing == 0 ? "" : fmt::format("{} of {} scores are not there yet", missing, all);
}

void forget_scores(const StageNode& node, const RunView& view, const std::vector<std::string>& others) {
  Records records(view.run.stage(node.name));
  if (records.forget(others)) records.publish();
}

}  // namespace couplet
