// couplet sample: samples of any trained model of a run, for people and for outside evaluators.
#include "launch/commands/commands.h"
#include "launch/commands/rank_end.h"
#include "launch/local/ranks.h"

#include "method/data/image_set.h"
#include "method/sampling/candidates.h"
#include "method/sampling/sample_output.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/distributed/measured_memory.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/tensor/arithmetic.h"
#include "pipeline/tensor/fitting_rows.h"
#include "stages/data/run_source.h"
#include "stages/opened_run.h"
#include "stages/trained/sampler.h"
#include "storage/error.h"

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace couplet {

CommandSyntax sample_syntax() {
  return {
      .name = "sample",
      .arguments = "",
      .summary = "draw samples from a trained model: one picture, an .npz file or a folder of PNG files",
      .flags = {{"run-dir", "DIR", "the run directory"},
                {"output", "PATH", "FILE.png, FILE.npz or a folder"},
                {"overwrite", "", "replace an output that exists"},
                {"model", "MODEL",
                 "teacher, or a student: nf-0, independent-0 (the run's first student; without students the teacher)"},
                {"ema", "RATE", "its weights averaged at that rate; 0: the raw ones (the first rate of its training)"},
                {"count", "N", "samples (100; of --low-resolution, one an image)"},
                {"low-resolution", "PATH", "small images that a super-resolution student restores, used in turn"},
                {"labels", "LIST", "classes, used in turn; data: as often as in the data, as scored (every class)"},
                {"seed", "N", "seed of the noise; equal seeds give equal noise for all models (0)"},
                {"solver",
                 "NAME",
                 "of a student: euler, midpoint, heun, heun-full, rk4, dopri5; with noise: ancestral, sde, corrector "
                 "(euler)",
                 false,
                 0,
                 {"euler", "midpoint", "heun", "heun-full", "rk4", "dopri5", "ancestral", "sde", "corrector"}},
                {"nfe", "N", "evaluations of a student's network a sample (4; 1 of a one-step student)"},
                {"grid", "NAME", "times of its steps: uniform or squared (uniform)", false, 0, {"uniform", "squared"}},
                {"times", "LIST", "instead of --nfe and --grid: the times, ascending from 0 (data) to 1 (noise)"},
                {"atol", "X", "absolute tolerance of dopri5 (1e-5)"},
                {"rtol", "X", "relative tolerance of dopri5 (1e-5)"},
                {"guidance", "G", "guidance; none is 1 for a student (1), 0 for the teacher (0)"},
                {"guidance-from", "T", "a student is guided from this time (0)"},
                {"guidance-to", "T", "a student is guided up to this time (1)"},
                {"candidates", "K", "noises of which a sample starts from one, by its table's noise classifier (1)"},
                {"annealed", "", "the teacher's guidance grows with the token's position"},
                {"temperature", "X",
                 "factor of the noise that a student starts from; of the teacher: temperature of attention in its "
                 "unlabelled branch (1)"},
                {"no-denoising", "", "leave the noise of its training on the teacher's samples"},
                {"batch", "N", "samples made at once (the run's evaluate.slice-rows, or all where there are fewer)"},
                {"precision", "NAME", "float32 or bfloat16 (the run's evaluate.precision)", false, 0,
                 find_option("evaluate.precision").allowed},
                {"threads", "N", "threads a rank (the run's pipeline.threads)"},
                {"device", "NAME", "auto, cpu or cuda (the run's pipeline.device)", false, 0,
                 find_option("pipeline.device").allowed}},
      .takes_keys = false,
      .notes =
          "FILE.npz holds arr_0, uint8 [N, H, W, C], and arr_1, the classes, as ADM's samplers write them; a folder\n"
          "holds 000000-class-3.png and so on. Both are written as samples are made: memory does not grow with N.\n"
          "--low-resolution takes a folder of PNG files or an .npz file, of the sizes of the data divided by\n"
          "prepare.factor; without --labels they are restored as images of no class.\n"
          "Ranks share the samples, with the same bytes: mpirun -n N couplet sample ...\n"
          "Samples that are not finite are written with those values black or white, counted and reported; the exit\n"
          "status is then 1. docs/commands.md says more.\n"};
}

namespace {

constexpr std::string_view data_labels = "data";

/// Flags that are keys of the configuration under another name, with their checks.
constexpr std::array<std::pair<const char*, const char*>, 4> execution_flags{{{"device", "pipeline.device"},
                                                                              {"threads", "pipeline.threads"},
                                                                              {"batch", "evaluate.slice-rows"},
                                                                              {"precision", "evaluate.precision"}}};
constexpr std::array<std::pair<const char*, const char*>, 5> student_flags{{{"times", "evaluate.times"},
                                                                            {"atol", "evaluate.atol"},
                                                                            {"rtol", "evaluate.rtol"},
                                                                            {"guidance-from", "evaluate.guidance-from"},
                                                                            {"guidance-to", "evaluate.guidance-to"}}};

/// Sets a key as a flag's text says, where the flag is given.
void apply(Config& config, const CommandLine& line, const std::string& flag, const std::string& key) {
  if (!line.has(flag)) return;
  if (line.get(flag).empty()) refuse("--{} is empty", flag);
  set_value(config, {key, line.get(flag), "--" + flag});
}

/// The one number of --`flag`, whose checks are those of a key that lists such numbers; none without the flag.
std::optional<double> number_of(const CommandLine& line, const std::string& flag, const std::string& key,
                                const std::vector<double> EvaluateConfig::*list) {
  if (!line.has(flag)) return std::nullopt;
  Config config = default_config();
  apply(config, line, flag, key);
  const std::vector<double>& values = config.evaluate.*list;
  if (values.size() != 1) refuse("--{} {}: expected one number", flag, line.get(flag));
  return values.front();
}

/// Refuses the flags that are given of `flags`, for `why`.
void exclude(const CommandLine& line, const std::vector<std::string>& flags, const std::string& why) {
  for (const std::string& flag : flags)
    if (line.has(flag)) refuse("--{}: {}", flag, why);
}

LabelChoice parse_labels(const CommandLine& line) {
  if (!line.has("labels")) return {};
  const std::string text = line.get("labels");
  if (text == data_labels) return {{}, true};
  LabelChoice labels;
  for (std::size_t end = 0, begin = 0; (begin = text.find_first_not_of(" ,", end)) != std::string::npos;) {
    end = std::min(text.find_first_of(" ,", begin), text.size());
    const auto parsed = std::from_chars(text.data() + begin, text.data() + end, labels.classes.emplace_back());
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + end || labels.classes.back() < 0) {
      labels.classes.clear();
      break;
    }
  }
  if (labels.classes.empty())
    refuse("--labels \"{}\": expected whole numbers from 0, separated by spaces or commas, or {}", text, data_labels);
  return labels;
}

/// Of a solver of fixed steps: along times of the user's own, or at an NFE on a grid.
Integration parse_fixed(const CommandLine& line, const std::string& solver, const std::vector<double>& times) {
  exclude(line, {"atol", "rtol"}, fmt::format("{} takes no tolerance; --solver dopri5 does", solver));
  const auto stochastic = find_stochastic_solver(solver);
  if (line.has("times")) {
    exclude(line, {"nfe", "grid"}, "--times already says which steps to take");
    return stochastic ? timed_integration(*stochastic, times) : timed_integration(parse_solver(solver), times);
  }
  const Grid grid = parse_grid(line.get("grid", "uniform"));
  const std::int64_t nfe = line.integer("nfe", 4, 1);
  return stochastic ? stochastic_integration(*stochastic, grid, nfe)
                    : fixed_integration(parse_solver(solver), grid, nfe);
}

void parse_student(const CommandLine& line, SampleRequest& request) {
  exclude(line, {"annealed", "no-denoising"}, fmt::format("is the teacher's; {} is a student", request.model));
  Config config = default_config();
  for (const auto& [flag, key] : student_flags) apply(config, line, flag, key);
  const EvaluateConfig& wanted = config.evaluate;
  const double scale = number_of(line, "guidance", "evaluate.guidance", &EvaluateConfig::guidance).value_or(1);
  if (scale == 1)
    exclude(line, {"guidance-from", "guidance-to"}, "an interval of guidance needs --guidance G with G other than 1");
  request.guidance = {scale, wanted.guidance_from, wanted.guidance_to};
  check(request.guidance);
  request.temperature =
      number_of(line, "temperature", "evaluate.temperature", &EvaluateConfig::temperature).value_or(1);
  request.candidates = line.integer("candidates", 1, 1);
  if (request.candidates > most_candidates)
    refuse("--candidates {}: a sample has at most {}", request.candidates, most_candidates);
  const std::string solver = line.get("solver", "euler");
  request.says_steps = solver != "euler" || line.has("grid") || line.has("times") || line.integer("nfe", 1, 1) != 1;
  if (solver == "dopri5") {
    exclude(line, {"nfe", "grid", "times"}, "dopri5 chooses its steps itself, by --atol and --rtol");
    request.integration = adaptive_integration({wanted.atol, wanted.rtol});
  } else {
    request.integration = parse_fixed(line, solver, wanted.times);
  }
}

void parse_teacher(const CommandLine& line, SampleRequest& request) {
  exclude(line, {"solver", "nfe", "grid", "times", "atol", "rtol"},
          "is a student's; the teacher makes a sample token by token, without a solver");
  exclude(line, {"guidance-from", "guidance-to"}, "is a student's; the teacher has no times to be guided at");
  exclude(line, {"candidates"}, "is a student's; the teacher has no table to take after");
  Config config = default_config();
  apply(config, line, "guidance", "evaluate.teacher-guidance");
  apply(config, line, "temperature", "evaluate.teacher-temperature");
  const EvaluateConfig& wanted = config.evaluate;
  if (wanted.teacher_guidance == 0)
    exclude(line, {"annealed", "temperature"}, "is about guidance; it needs --guidance G with G above 0");
  request.teacher = {wanted.teacher_guidance, line.has("annealed"), wanted.teacher_temperature};
  request.denoise = !line.has("no-denoising");
}

/// The first student of the run's first seed; of a run without students the teacher.
std::string first_model(const Config& config) {
  if (config.compare.empty()) return "teacher";
  const std::string& student = config.compare.front();
  return model_name(student, student_config(config, student).seeds.front());
}

/// What to sample of a run, and how: what does not go together is refused, nothing is ignored.
SampleRequest parse_sample_request(const CommandLine& line, const Config& config) {
  SampleRequest request;
  request.model = line.get("model", first_model(config));
  request.ema = number_of(line, "ema", "evaluate.ema", &EvaluateConfig::ema);
  if (line.has("low-resolution")) {
    request.low_resolution = line.required("low-resolution");
    request.count = open_image_set(request.low_resolution)->shape().images;
  }
  request.count = line.integer("count", request.count, 1);
  request.labels = parse_labels(line);
  request.seed = static_cast<std::uint64_t>(line.integer("seed", 0, 0));
  if (request.model == "teacher")
    parse_teacher(line, request);
  else
    parse_student(line, request);
  return request;
}

/// Keys that flags stand for: device, threads, samples at once, precision.
std::vector<Setting> sample_settings(const CommandLine& line) {
  std::vector<Setting> settings;
  for (const auto& [flag, key] : execution_flags)
    if (line.has(flag)) settings.push_back({key, line.get(flag), std::string("--") + flag});
  return settings;
}

/// What all ranks must agree on before any work, or samples would be a mixture.
nlohmann::json facts_of(const std::vector<std::string>& words, const Config& config) {
  nlohmann::json facts = {{"program version", COUPLET_VERSION},
                          {"command line", words},
                          {"device", resolve_device(config.pipeline.device)}};
  facts.update(nlohmann::json(result_facts(config)));
  return facts;
}

std::string teacher_text(const SampleRequest& request) {
  const TarFlowSampling& sampling = request.teacher;
  std::string text = fmt::format("token by token, guidance {}", sampling.guidance);
  if (sampling.annealed) text += ", annealed";
  if (sampling.attention_temperature != 1) text += fmt::format(", temperature {}", sampling.attention_temperature);
  if (!request.denoise) text += ", not denoised";
  return text;
}

std::string student_text(const SampleRequest& request, const SampleTally& tally) {
  const Guidance& guidance = request.guidance;
  std::string text = fmt::format("{}, guidance {}", request.integration.text(), guidance.scale);
  if (guidance.from > 0 || guidance.to < 1) text += fmt::format(" from t = {} to {}", guidance.from, guidance.to);
  if (request.temperature != 1) text += fmt::format(", temperature {}", request.temperature);
  if (request.candidates > 1) text += fmt::format(", {} candidates", request.candidates);
  if (request.integration.adaptive())
    text += fmt::format(", NFE {:.1f} a sample ({} to {} a batch)", tally.nfe_mean(), tally.nfe_least, tally.nfe_most);
  return text;
}

/// Prints what was made, and returns the exit status that it deserves.
int report_samples(const SampleRequest& request, const SampleTally& tally, const std::filesystem::path& output) {
  say("{} samples of {} in {}: {}, seed {}", tally.samples, request.model, output.string(),
      request.model == "teacher" ? teacher_text(request) : student_text(request, tally), request.seed);
  if (tally.nonfinite == 0) return exit_ok;
  fmt::print(stderr,
             "couplet: {}: {} of {} samples held NaN or infinite values, the first of them sample {}; they are there "
             "with these values black or white, and are not drawn again\n",
             output.string(), tally.nonfinite, tally.samples, tally.first_nonfinite);
  return exit_failed;
}

/// Few samples are made in one slice of that many, unless the user says how many are made at once.
std::int64_t rows_at_once(const CommandLine& line, const Config& config, const SampleRequest& request) {
  const std::int64_t rows = config.evaluate.slice_rows;
  return line.has("batch") ? rows : std::min(rows, request.count);
}

/// A row of a picture is a turn through the classes; ten samples where that is a single one, or too many to be seen.
std::int64_t picture_columns(std::int64_t classes) {
  constexpr std::int64_t most = 10;
  return classes > 1 && classes <= most ? classes : most;
}

int sample_on_ranks(const CommandLine& line, const std::vector<std::string>& words) {
  const RunDirectory run(line.required("run-dir"));
  require_run_directory(run);
  const Config config = resolve_config(run.config(), sample_settings(line));
  const SampleRequest request = parse_sample_request(line, config);
  const SampleOutput output(line.required("output"), request.count, line.has("overwrite"));
  if (has_points(config.prepare))
    refuse(
        "{}: samples are points of the plane (prepare.format = {}), and what this command writes is pixels; the report "
        "draws points, and RUN/evaluate/pictures/*.json holds them",
        line.required("run-dir"), config.prepare.format);
  const std::string device = resolve_device(config.pipeline.device);
  if (device == "cuda") choose_gpu_arithmetic({config.pipeline.tf32, config.pipeline.reproducible});
  // Samples come together on the CPU.
  const auto communicator = make_communicator("cpu");
  open_log("", "", communicator->rank(), communicator->size());
  require_agreement(*communicator, "what they are to sample", facts_of(words, config));
  at::set_num_threads(static_cast<int>(resolve_task_threads(config.pipeline, local_ranks())));
  if (communicator->is_root()) output.require_place();

  const StageGraph graph = stage_graph(config, look_at_inputs(config, run, *communicator));
  const c10::Device picked = pick_device(device, *communicator);
  const Sampler sampler({config, run, graph}, request, picked, *communicator);
  const std::unique_ptr<DeviceMemory> memory = measured_memory(picked, *communicator);
  const FittingRows fitting(memory->is_host() ? nullptr : memory.get(), config.evaluate.rows_at_once,
                            "evaluate.rows-at-once");
  const DatasetShape& shape = sampler.shape();
  SampleStream stream(
      request.count, rows_at_once(line, config, request), shape.pixel_shape(),
      [&](std::int64_t first, std::int64_t count) { return sampler.make(first, count); }, shape.codec, *communicator);
  if (!communicator->is_root()) {
    while (!stream.done()) stream.next();
    return exit_ok;
  }
  const auto asked = static_cast<std::int64_t>(request.labels.classes.size());
  output.write(
      stream, [&](std::int64_t first, std::int64_t count) { return sampler.labels(first, count); },
      picture_columns(asked > 0 ? asked : shape.labels()));
  return report_samples(sampler.request(), stream.tally(), output.path());
}

}  // namespace

int sample_command(const std::vector<std::string>& words) {
  watch_signals();
  return run_rank([&] {
    const CommandLine line(sample_syntax(), words);
    if (line.help()) {
      fmt::print("{}", help_text(sample_syntax()));
      return static_cast<int>(exit_ok);
    }
    if (is_launchers_child()) end_with_parent();
    return sample_on_ranks(line, words);
  });
}

}  // namespace couplet
