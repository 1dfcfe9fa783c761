#include "stages/evaluate/score_requests.h"

#include "method/data/codec.h"
#include "pipeline/config/options.h"
#include "stages/data/run_source.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace couplet {

namespace {

using Names = std::vector<std::string>;

/// What the figures of sampled images depend on.
const Names of_samples{"evaluate.network",    "evaluate.network-args",    "evaluate.reference", "evaluate.samples",
                       "evaluate.slice-rows", "evaluate.pairwise-images", "evaluate.precision"};
const Names of_teacher_samples{"evaluate.teacher-guidance", "evaluate.teacher-annealed",
                               "evaluate.teacher-temperature"};
const Names of_guidance{"evaluate.guidance-from", "evaluate.guidance-to"};
const Names of_paths{"evaluate.curvature-samples", "evaluate.curvature-steps", "evaluate.slice-rows",
                     "evaluate.precision"};
const Names of_pairing{"evaluate.pairing-rows", "evaluate.slice-rows", "evaluate.precision"};
const Names of_pairing_steps{"evaluate.pairing-nfe"};
const Names of_solver_error{"evaluate.tolerance-samples", "evaluate.slice-rows", "evaluate.precision"};
const Names of_likelihood{"pipeline.seed", "evaluate.likelihood-rows", "evaluate.slice-rows"};
const Names of_table{"evaluate.gap-rows", "evaluate.slice-rows"};
const Names of_student_likelihood{"evaluate.likelihood-probes", "evaluate.likelihood-samples", "evaluate.atol",
                                  "evaluate.rtol"};

Names operator+(Names names, const Names& others) {
  names.insert(names.end(), others.begin(), others.end());
  return names;
}

class Requests {
public:
  Requests(const StageNode& node, const RunView& view)
      : node_(node), view_(view), config_(view.config.evaluate), now_(settings_now(node, view.graph)) {}

  std::vector<ScoreRequest> of_real();
  std::vector<ScoreRequest> of_teacher();
  std::vector<ScoreRequest> of_student();
  std::vector<ScoreRequest> of_noise();

private:
  bool has_classifier() const { return look_for_node(view_.graph, "features") != nullptr; }
  /// Samples are held-out images, restored from their low resolution.
  bool restores() const { return view_.config.prepare.condition != "none"; }
  bool has_network() const { return has_classifier() || !config_.network.empty(); }
  bool has_points() const { return couplet::has_points(view_.config.prepare); }
  /// The first metric of samples.
  std::string distance() const {
    return has_points() ? "wasserstein_distance" : has_network() ? "frechet_distance" : "finite_share";
  }
  /// Without levels there are no bits of them.
  bool has_levels() const {
    return !has_latents(view_.config) &&
           find_codec(view_.config.prepare.codec).make(nlohmann::json::object(), {})->levels() > 0;
  }
  MadeWith with(const Names& names) const;
  void add(Measurement measurement, const ScoreKey& key, const Names& names, const std::string& last_metric);
  void add_samples(Measurement measurement, const ScoreKey& key, const Names& names);
  void add_pairing(const ScoreKey& key, const Names& names);
  ScoreKey student_key(const FieldSetting& field) const;

  const StageNode& node_;
  const RunView& view_;
  const EvaluateConfig& config_;
  MadeWith now_;
  std::vector<ScoreRequest> all_;
};

MadeWith Requests::with(const Names& names) const {
  MadeWith made_with;
  for (const std::string& name : names) made_with[name] = now_.at(name);
  return made_with;
}

void Requests::add(Measurement measurement, const ScoreKey& key, const Names& names, const std::string& last_metric) {
  ScoreRequest request;
  request.measurement = measurement;
  request.key = key;
  request.with = with(key.model == "student" && key.guidance != 1 ? names + of_guidance : names);
  if (key.is_adaptive()) request.with[solver_setting] = now_.at(solver_setting);
  request.last_metric = last_metric;
  all_.push_back(std::move(request));
}

void Requests::add_samples(Measurement measurement, const ScoreKey& key, const Names& names) {
  const Names classifier = has_classifier() ? Names{"features"} : Names{};
  add(measurement, key, of_samples + classifier + names, distance());
}

std::vector<ScoreRequest> Requests::of_real() {
  if (has_network() || has_points() || restores())
    add_samples(Measurement::real_images, {.model = "real", .split = "test"}, {});
  if (encodes_images(view_.config))
    add_samples(Measurement::reconstruction, {.model = "reconstruction", .split = "test"}, {});
  if (has_points() && config_.likelihood_rows > 0)
    add(Measurement::likelihood, {.model = "real", .split = "test"}, of_likelihood, "nats");
  if (restores()) add_samples(Measurement::upsampling, {.model = "upsampling", .split = "test"}, {});
  return std::move(all_);
}

std::vector<ScoreRequest> Requests::of_teacher() {
  for (const std::int64_t seed : config_.sampling_seeds)
    // Of its two variants the denoised one is recorded last.
    add_samples(Measurement::samples,
                {.model = "teacher",
                 .seed = view_.config.pipeline.seed,
                 .solver = "autoregressive",
                 .noise = "fresh",
                 .sampling_seed = seed,
                 .guidance = config_.teacher_guidance,
                 .denoised = denoising_std(view_.config.teacher) > 0},
                of_teacher_samples);
  if (config_.likelihood_rows > 0 && has_levels())
    add(Measurement::likelihood, {.model = "teacher", .seed = view_.config.pipeline.seed, .split = "test"},
        of_likelihood, teacher_noise(view_.config.teacher).uniform ? "bits_per_dim" : "noised_bits_per_dim");
  return std::move(all_);
}

/// With the figures of held-out rows stand those of training rows.
std::vector<ScoreRequest> Requests::of_noise() {
  const std::string& name = node_.measured;
  const bool held_out = has_held_out_noise(view_.config, view_.run, find_run_table(view_.config, name));
  const ScoreKey key{.model = "table", .table = name, .split = held_out ? "test" : "train"};
  const Names names = of_table + Names{"coupling/" + name};
  add(Measurement::prior_gap, key, names, "class_deviation_nats");
  if (const std::string classifier = "noise-classifier/" + name; held_out && node_.runs_after(classifier))
    add(Measurement::noise_test, key, names + Names{classifier}, "noise_log_ratio");
  return std::move(all_);
}

ScoreKey Requests::student_key(const FieldSetting& field) const {
  return {.model = "student",
          .student = node_.student,
          .coupling = student_config(view_.config, node_.student).coupling,
          .seed = node_.seed,
          .ema = field.ema,
          .guidance = field.guidance.scale,
          .guidance_from = field.guidance.from,
          .guidance_to = field.guidance.to,
          .temperature = field.temperature};
}

/// With the rows of every table of the run that holds the data set's images: those that the student was trained on, and
/// those that others were.
void Requests::add_pairing(const ScoreKey& field_key, const Names& names) {
  for (const RunTable& table : run_tables(view_.config))
    for (const char* split : {"train", "test"}) {
      if (!table.is_of_images()) continue;
      ScoreKey key = field_key;
      key.noise = "table";
      key.table = table.name;
      key.split = split;
      add(Measurement::pairing, key, names + Names{"coupling/" + table.name}, "ssim");
    }
}

std::vector<ScoreRequest> Requests::of_student() {
  const StudentConfig student = student_config(view_.config, node_.student);
  const auto own = table_of_student(view_.config, node_.student);
  const std::string table = own && has_held_out_noise(view_.config, view_.run, *own) ? own->name : "";
  for (const SamplingSetting& sampling : sampling_settings(config_, student, table, own && own->has_noise)) {
    ScoreKey key = student_key(sampling.field);
    key.candidates = sampling.candidates;
    key.solver = sampling.integration.name();
    key.grid = sampling.integration.grid;
    key.nfe = sampling.integration.nfe();
    key.atol = sampling.integration.tolerance.absolute;
    key.rtol = sampling.integration.tolerance.relative;
    key.noise = sampling.table.empty() ? "fresh" : "table";
    key.sampling_seed = sampling.seed;
    key.table = sampling.table;
    key.split = sampling.table.empty() ? "" : "test";
    Names others = sampling.table.empty() ? Names{} : Names{"coupling/" + sampling.table};
    if (key.candidates > 1) others.push_back("noise-classifier/" + own->name);
    add_samples(Measurement::samples, key, others);
    all_.back().sampling = sampling;
  }
  // What is no sampling setting of its own is measured with the first field that is asked for, from z itself.
  ScoreKey field_key = student_key(field_settings(config_, student).front());
  field_key.temperature = 1;
  ScoreKey key = field_key;
  key.solver = "euler";
  key.grid = "uniform";
  key.noise = "fresh";
  key.sampling_seed = config_.sampling_seeds.front();
  key.nfe = config_.curvature_steps;
  const bool one_step = is_one_step(student);
  if (config_.curvature_samples > 0 && !one_step) add(Measurement::paths, key, of_paths, "transport_cost");
  key.nfe = one_step ? 1 : config_.pairing_nfe;
  const Names pairing = one_step ? of_pairing : of_pairing + of_pairing_steps;
  if (config_.pairing_rows > 0) add_pairing(key, pairing);
  // The teacher is given no low resolution, and makes other images of the same noise.
  if (config_.pairing_rows > 0 && has_noise_of_teacher(student) && !restores())
    add(Measurement::teacher_distance, key, pairing + Names{"teacher"}, "teacher_distance");
  if (one_step) return std::move(all_);  // no solver has a say, and there is no density
  for (const double tolerance : config_.tolerances) {
    if (config_.tolerance_samples < 1) break;
    ScoreKey error = field_key;
    error.solver = "dopri5";
    error.atol = error.rtol = tolerance;
    error.noise = "fresh";
    error.sampling_seed = config_.sampling_seeds.front();
    add(Measurement::solver_error, error, of_solver_error, "solver_error");
  }
  if (config_.likelihood_rows > 0) {
    ScoreKey likelihood = student_key({field_key.ema, {}});
    likelihood.solver = "dopri5";
    likelihood.atol = config_.atol;
    likelihood.rtol = config_.rtol;
    likelihood.split = "test";
    add(Measurement::likelihood, likelihood, of_likelihood + of_student_likelihood,
        has_levels() ? "bits_per_dim" : "nats");
  }
  return std::move(all_);
}

}  // namespace

std::vector<ScoreRequest> score_requests(const StageNode& node, const RunView& view) {
  Requests requests(node, view);
  if (!node.measured.empty()) return requests.of_noise();
  if (!node.student.empty()) return requests.of_student();
  return node.runs_after("teacher") ? requests.of_teacher() : requests.of_real();
}

std::vector<ScoreRequest> missing_scores(const StageNode& node, const RunView& view) {
  const Records records(view.run.stage(node.name));
  std::vector<ScoreRequest> missing;
  for (ScoreRequest& request : score_requests(node, view))
    if (!request.is_in(records)) missing.push_back(std::move(request));
  return missing;
}

}  // namespace couplet
