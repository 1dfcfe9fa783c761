#include "pipeline/config/validation.h"

#include "pipeline/config/options.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <set>

namespace couplet {

namespace {

bool is_power_of_two(std::int64_t number) {
  return number > 0 && std::has_single_bit(static_cast<std::uint64_t>(number));
}

std::string powers_up_to(std::int64_t last) {
  std::string text;
  for (std::int64_t power = 1; power <= last; power *= 2) text += fmt::format("{}{}", text.empty() ? "" : ", ", power);
  return text;
}

void require_multiple(const std::string& key, std::int64_t value, const std::string& of_key, std::int64_t of) {
  if (value % of != 0)
    refuse("{} = {} is not a multiple of {} = {}; the nearest valid: {}", key, value, of_key, of,
           nearest_multiples(value, of));
}

template <class T>
void require_distinct(const std::string& key, const std::vector<T>& values) {
  std::set<T> seen;
  for (const auto& value : values)
    if (!seen.insert(value).second) refuse("{} lists {} twice", key, value);
  if (values.empty()) refuse("{} is empty; give at least one", key);
}

void check_training(const std::string& section, const TrainingConfig& training, const PipelineConfig& pipeline) {
  require_distinct(section + ".ema", training.ema);
  require_sliceable(pipeline, section, training.batch);
  if (training.final_learning_rate > training.learning_rate)
    refuse("{0}.final-learning-rate = {1} is above {0}.learning-rate = {2}", section, training.final_learning_rate,
           training.learning_rate);
  if (training.betas.size() != 2 || std::ranges::max(training.betas) >= 1)
    refuse("{}.betas = {}: expected two rates from 0 up to below 1, such as 0.9 0.95", section,
           fmt::join(training.betas, " "));
}

void check_times(const std::vector<double>& times) {
  if (times.empty()) return;
  const bool ascending = std::ranges::adjacent_find(times, std::greater_equal<>()) == times.end();
  if (times.size() < 2 || !ascending || times.front() != 0 || times.back() != 1)
    refuse("evaluate.times = {}: times ascend strictly from 0 to 1", fmt::join(times, " "));
}

void check_guidance(const EvaluateConfig& evaluate) {
  const double from = evaluate.guidance_from, to = evaluate.guidance_to;
  if (from >= to) refuse("evaluate.guidance-from = {} is not below evaluate.guidance-to = {}", from, to);
  require_distinct("evaluate.guidance", evaluate.guidance);
  const bool guides = std::ranges::any_of(evaluate.guidance, [](double scale) { return scale != 1; });
  if (!guides && (from > 0 || to < 1))
    refuse(
        "evaluate.guidance-from = {} and evaluate.guidance-to = {} with evaluate.guidance = 1, which is none: give a "
        "scale or leave the interval out",
        from, to);
}

/// Images that each have a fifth neighbour.
constexpr std::int64_t fewest_compared = 6;

/// A solver whose steps take `step` evaluations.
void check_evaluations(const char* key, const std::vector<std::int64_t>& counts, std::int64_t step) {
  if (!counts.empty()) require_distinct(key, counts);
  for (const std::int64_t nfe : counts)
    if (nfe % step != 0)
      refuse("{} = {}: every step takes {} evaluations; the nearest valid: {}", key, nfe, step,
             nearest_multiples(nfe, step));
}

/// With an estimate of log p, the mean over dequantisations would be of exp(log p + error), which is too large.
void check_likelihood(const EvaluateConfig& evaluate) {
  if (evaluate.likelihood_samples > 1 && evaluate.likelihood_probes > 0)
    refuse(
        "evaluate.likelihood-samples = {} with evaluate.likelihood-probes = {}: a mean of likelihoods whose traces are "
        "estimated looks better than it is; set likelihood-probes = 0, the exact trace, or likelihood-samples = 1",
        evaluate.likelihood_samples, evaluate.likelihood_probes);
}

void check_evaluate(const EvaluateConfig& evaluate) {
  const bool solves = !evaluate.euler_nfe.empty() || !evaluate.heun_nfe.empty() || !evaluate.midpoint_nfe.empty() ||
                      !evaluate.rk4_nfe.empty() || !evaluate.times.empty() || evaluate.dopri5;
  const bool adds_noise =
      !evaluate.ancestral_nfe.empty() || !evaluate.sde_nfe.empty() || !evaluate.corrector_nfe.empty();
  if (!solves && !adds_noise)
    refuse(
        "no sampling is asked for: give evaluate.euler-nfe, heun-nfe, midpoint-nfe, rk4-nfe, ancestral-nfe, sde-nfe, "
        "corrector-nfe or times, or set evaluate.dopri5");
  if (evaluate.pairwise_images > 0 && evaluate.pairwise_images < fewest_compared)
    refuse("evaluate.pairwise-images = {}: give 0, for none, or at least {}", evaluate.pairwise_images,
           fewest_compared);
  if (!evaluate.euler_nfe.empty()) require_distinct("evaluate.euler-nfe", evaluate.euler_nfe);
  if (!evaluate.heun_nfe.empty()) require_distinct("evaluate.heun-nfe", evaluate.heun_nfe);
  require_distinct("evaluate.grids", evaluate.grids);
  for (const std::int64_t nfe : evaluate.heun_nfe)
    if (nfe % 2 == 0)
      refuse("evaluate.heun-nfe = {} is even; Heun steps with a last Euler step take 2n - 1 evaluations: {} or {}", nfe,
             nfe - 1, nfe + 1);
  check_evaluations("evaluate.midpoint-nfe", evaluate.midpoint_nfe, 2);
  check_evaluations("evaluate.rk4-nfe", evaluate.rk4_nfe, 4);
  check_evaluations("evaluate.ancestral-nfe", evaluate.ancestral_nfe, 1);
  check_evaluations("evaluate.sde-nfe", evaluate.sde_nfe, 1);
  check_evaluations("evaluate.corrector-nfe", evaluate.corrector_nfe, 2);
  if (evaluate.tolerance_samples > 0) require_distinct("evaluate.tolerances", evaluate.tolerances);
  check_times(evaluate.times);
  check_guidance(evaluate);
  require_distinct("evaluate.temperature", evaluate.temperature);
  if (!solves && std::ranges::find(evaluate.temperature, 1) == evaluate.temperature.end())
    refuse(
        "evaluate.temperature = {}: samplers that add noise (evaluate.ancestral-nfe, sde-nfe, corrector-nfe) start "
        "from "
        "temperature 1 alone, and no other solver is asked for",
        fmt::join(evaluate.temperature, " "));
  require_distinct("evaluate.candidates", evaluate.candidates);
  const auto is_listed = [](const auto& list) { return std::ranges::find(list, 1) != list.end(); };
  if (!is_listed(evaluate.candidates))
    refuse("evaluate.candidates = {}: list 1 too, a sample's own noise, which the others are compared with",
           fmt::join(evaluate.candidates, " "));
  if (evaluate.candidates.size() > 1 && !is_listed(evaluate.temperature))
    refuse("evaluate.candidates = {}: candidates are of temperature 1, and evaluate.temperature = {} does not list it",
           fmt::join(evaluate.candidates, " "), fmt::join(evaluate.temperature, " "));
  check_likelihood(evaluate);
}

StudentCheck& student_check() {
  static StudentCheck check;
  return check;
}

void check_student(const Config& config, const std::string& name) {
  const StudentConfig student = student_config(config, name);
  const std::string section = section_of_student(config, name);
  check_training(section, student.training, config.pipeline);
  if (student_check()) student_check()(student, section);
  require_distinct(section + ".seeds", student.seeds);
  if (!student.gaussianise.empty()) require_distinct(section + ".gaussianise", student.gaussianise);
  if (!student.init_from.empty() && std::ranges::find(config.compare, student.init_from) == config.compare.end())
    refuse("{}.init-from = {}: student.compare = {} does not list such a student", section, student.init_from,
           fmt::join(config.compare, " "));
  if (!student.init_from.empty() && !student.init.empty())
    refuse("{0}.init-from = {1} and {0}.init = {2}: weights start from one of them", section, student.init_from,
           student.init);
  const bool guides = std::ranges::any_of(config.evaluate.guidance, [](double scale) { return scale != 1; });
  if (student.label_drop == 1 && guides)
    refuse(
        "evaluate.guidance = {} with {}.label-drop = 1: guidance leads away from what a student makes without a "
        "label, and it has seen none",
        fmt::join(config.evaluate.guidance, " "), section);
  for (const double time : student.times)
    if (time == 0) refuse("{}.times lists 0, where there is nothing to learn: t = 0 is the image", section);
  for (const double rate : config.evaluate.ema)
    if (rate != 0 && std::ranges::find(student.training.ema, rate) == student.training.ema.end())
      refuse("evaluate.ema lists the rate {}, of which the student {} keeps no average: {}.ema = {}", rate, name,
             section, fmt::join(student.training.ema, " "));
}

void check_table(const std::string& section, const CoupleConfig& couple, const TrainingConfig& teacher) {
  require_multiple(section + ".shard-rows", couple.shard_rows, section + ".block-rows", couple.block_rows);
  check_evaluations((section + ".nfe").c_str(), {couple.nfe},
                    couple.solver == "midpoint" ? 2
                    : couple.solver == "rk4"    ? 4
                                                : 1);
  if (couple.solver == "heun" && couple.nfe % 2 == 0)
    refuse("{}.nfe = {} is even; Heun steps with a last Euler step take 2n - 1 evaluations: {} or {}", section,
           couple.nfe, couple.nfe - 1, couple.nfe + 1);
  if (couple.ema != -1 && couple.ema != 0 && std::ranges::find(teacher.ema, couple.ema) == teacher.ema.end())
    refuse(
        "{}.ema = {}, a rate of which the teacher keeps no average: teacher.ema = {} (0: raw weights, -1: the first)",
        section, couple.ema, fmt::join(teacher.ema, " "));
}

/// The sections of all tables with their values: [couple], and those of tables by name.
std::vector<std::pair<std::string, CoupleConfig>> table_sections(const Config& config) {
  std::vector<std::pair<std::string, CoupleConfig>> all{{"couple", config.couple}};
  for (const auto& [name, keys] : config.couple_sections)
    all.emplace_back("couple." + name, couple_config(config, name));
  return all;
}

void check_latents(const Config& config) {
  const LatentsConfig& latents = config.latents;
  if ((latents.codec == "script") == latents.file.empty())
    refuse("latents.codec = {} with latents.file = {}: the file is the program of latents.codec = script",
           latents.codec, latents.file.empty() ? "\"\"" : latents.file);
  const bool are_source = config.prepare.format == "latents";
  if (are_source && latents.codec != "script")
    refuse(
        "prepare.format = latents with latents.codec = {}: what models make becomes pixels by the program that the "
        "latents were made by; set latents.codec = script, and latents.file",
        latents.codec);
  if (latents.codec == "none") return;
  const auto require_unmirrored = [&](const std::string& key, bool flips) {
    if (flips)
      refuse("{} = true with latents.codec = {}: a latent cannot be mirrored; set it to false, and {}", key,
             latents.codec,
             are_source ? "mirror images are rows of the data set, where it has any"
                        : fmt::format("latents.flips = {} decides whether mirror images are encoded", latents.flips));
  };
  require_unmirrored("teacher.flips", config.teacher.flips);
  for (const auto& [section, couple] : table_sections(config)) require_unmirrored(section + ".flips", couple.flips);
  if (latents.scale != std::vector<double>{0})
    for (const double scale : latents.scale)
      if (scale == 0)
        refuse("latents.scale = {}: 0 alone measures one scale; no channel can be scaled by 0",
               fmt::join(latents.scale, " "));
  if (latents.scale.empty() || latents.shift.empty())
    refuse("latents.{} is empty: give one number, or one a channel", latents.scale.empty() ? "scale" : "shift");
  if (config.prepare.condition != "none")
    refuse(
        "prepare.condition = {} with latents.codec = {}: the low resolution of an image is of pixels; set one to none",
        config.prepare.condition, latents.codec);
  if (config.prepare.codec != "uint8" && are_source)
    refuse("prepare.codec = {} with prepare.format = latents, whose rows are latents; leave prepare.codec out",
           config.prepare.codec);
  if (config.prepare.codec != "uint8")
    refuse("prepare.codec = {} with latents.codec = {}: latents are made of 8-bit images (prepare.codec = uint8)",
           config.prepare.codec, latents.codec);
}

}  // namespace

void offer_student_check(StudentCheck check) {
  student_check() = std::move(check);
}

std::string section_of_student(const Config& config, const std::string& student) {
  return config.student_sections.contains(student) ? "student." + student : "student";
}

void require_slices(const PipelineConfig& pipeline, std::int64_t ranks) {
  if (!pipeline.reproducible) return;
  if (!is_power_of_two(pipeline.slices)) {
    const auto below = std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(pipeline.slices, 1)));
    refuse("pipeline.slices = {} is no power of two; the nearest are {} and {}", pipeline.slices, below, 2 * below);
  }
  if (!is_power_of_two(ranks) || ranks > pipeline.slices) {
    refuse(
        "pipeline.reproducible: {} ranks cannot share {} gradient groups equally; the numbers of ranks that can: {} "
        "(pipeline.slices = {})",
        ranks, pipeline.slices, powers_up_to(pipeline.slices), pipeline.slices);
  }
}

void require_divisible(const std::string& section, std::int64_t batch, std::int64_t ranks) {
  if (batch % ranks == 0) return;
  std::vector<std::int64_t> valid;
  for (std::int64_t count = 1; count <= std::min<std::int64_t>(batch, 64); ++count)
    if (batch % count == 0) valid.push_back(count);
  refuse("{}.batch = {} does not divide by {} ranks; the nearest valid batch: {}; ranks that divide {}: {}", section,
         batch, ranks, nearest_multiples(batch, ranks), batch, fmt::join(valid, ", "));
}

void require_sliceable(const PipelineConfig& pipeline, const std::string& section, std::int64_t batch) {
  if (!pipeline.reproducible || pipeline.slices < 1 || batch % pipeline.slices == 0) return;
  const std::int64_t below = batch / pipeline.slices * pipeline.slices, above = below + pipeline.slices;
  refuse("{}.batch = {} does not divide into pipeline.slices = {} gradient groups; the nearest valid: {}", section,
         batch, pipeline.slices, below > 0 ? fmt::format("{}, {}", below, above) : fmt::format("{}", above));
}

void validate(const Config& config) {
  require_slices(config.pipeline, 1);
  check_training("features", config.features.training, config.pipeline);
  if (config.latents.codec == "autoencoder")
    check_training("autoencoder", config.autoencoder.training, config.pipeline);
  check_training("teacher", config.teacher.training, config.pipeline);
  const EvaluateConfig& evaluate = config.evaluate;
  if (evaluate.noise_classifier || evaluate.candidates != std::vector<std::int64_t>{1})
    check_training("noise-classifier", config.noise_classifier.training, config.pipeline);
  const auto trains_a_map = [&](const std::string& name) {
    const std::vector<std::string> maps = student_config(config, name).gaussianise;
    return std::ranges::find(maps, "flow") != maps.end();
  };
  if (std::ranges::any_of(config.compare, trains_a_map))
    check_training("gaussianiser", config.gaussianiser.training, config.pipeline);
  if (config.teacher.training.images == 0 && config.teacher.init.empty())
    refuse("teacher.images = 0 without teacher.init: weights that nothing was learnt by would be the teacher");

  require_multiple("teacher.channels", config.teacher.channels, "teacher.head-size", config.teacher.head_size);
  require_multiple("prepare.shard-rows", config.prepare.shard_rows, "prepare.block-rows", config.prepare.block_rows);
  for (const auto& [section, couple] : table_sections(config)) check_table(section, couple, config.teacher.training);

  check_latents(config);
  for (const auto& [section, couple] : table_sections(config))
    if (couple.flips && !config.teacher.flips)
      refuse(
          "{0}.flips = true with teacher.flips = false: half of the table would be of mirror images that the teacher "
          "has never seen; set {0}.flips = false too",
          section);

  if (config.evaluate.network.empty() && !config.evaluate.network_args.empty())
    refuse("evaluate.network-args are given without evaluate.network, whose arguments they are");
  if (config.evaluate.network.empty() && !config.evaluate.reference.empty())
    refuse(
        "evaluate.reference is given without evaluate.network: the built-in classifier is trained anew in every run");

  if (!config.compare.empty()) require_distinct("student.compare", config.compare);
  for (const std::string& name : config.compare) check_student(config, name);
  require_distinct("evaluate.sampling-seeds", config.evaluate.sampling_seeds);
  if (!config.evaluate.ema.empty()) require_distinct("evaluate.ema", config.evaluate.ema);
  check_evaluate(config.evaluate);
}

void validate_ranks(const Config& config, std::int64_t ranks, const std::string& kind, const std::string& student) {
  const auto check = [&](const std::string& section, const TrainingConfig& training) {
    require_slices(config.pipeline, ranks);
    require_divisible(section, training.batch, ranks);
  };
  if (kind == "features") check(kind, config.features.training);
  if (kind == "loss-features") check("features", config.features.training);
  if (kind == "autoencoder") check(kind, config.autoencoder.training);
  if (kind == "teacher") check(kind, config.teacher.training);
  if (kind == "noise-classifier") check(kind, config.noise_classifier.training);
  if (kind == "gaussianiser") check(kind, config.gaussianiser.training);
  if (kind == "student") check(section_of_student(config, student), student_config(config, student).training);
}

}  // namespace couplet
