#include "launch/commands/sample_options.h"

#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <string_view>
#include <utility>

namespace couplet {

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

/// Of a fixed solver: along times of the user's own, or at an NFE on a grid.
Integration parse_fixed(const CommandLine& line, const std::string& solver, const std::vector<double>& times) {
  exclude(line, {"atol", "rtol"}, fmt::format("{} takes no tolerance; --solver dopri5 does", solver));
  if (line.has("times")) {
    exclude(line, {"nfe", "grid"}, "--times already says which steps to take");
    return timed_integration(parse_solver(solver), times);
  }
  return fixed_integration(parse_solver(solver), parse_grid(line.get("grid", "uniform")), line.integer("nfe", 4, 1));
}

void parse_student(const CommandLine& line, SampleRequest& request) {
  exclude(line, {"annealed", "temperature", "no-denoising"},
          fmt::format("is the teacher's; {} is a student", request.model));
  Config config = default_config();
  for (const auto& [flag, key] : student_flags) apply(config, line, flag, key);
  apply(config, line, "guidance", "evaluate.guidance");
  const EvaluateConfig& wanted = config.evaluate;
  if (wanted.guidance == 1)
    exclude(line, {"guidance-from", "guidance-to"}, "an interval of guidance needs --guidance G with G other than 1");
  request.guidance = {wanted.guidance, wanted.guidance_from, wanted.guidance_to};
  check(request.guidance);
  const std::string solver = line.get("solver", "euler");
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
  Config config = default_config();
  apply(config, line, "guidance", "evaluate.teacher-guidance");
  apply(config, line, "temperature", "evaluate.teacher-temperature");
  const EvaluateConfig& wanted = config.evaluate;
  if (wanted.teacher_guidance == 0)
    exclude(line, {"annealed", "temperature"}, "is about guidance; it needs --guidance G with G above 0");
  request.teacher = {wanted.teacher_guidance, line.has("annealed"), wanted.teacher_temperature};
  request.denoise = !line.has("no-denoising");
}

}  // namespace

CommandSyntax sample_syntax() {
  return {
      .name = "sample",
      .arguments = "",
      .summary = "draw samples from a trained model: one picture, an .npz file or a folder of PNG files",
      .flags = {{"run-dir", "DIR", "the run directory"},
                {"output", "PATH", "FILE.png, FILE.npz or a folder"},
                {"overwrite", "", "replace an output that exists"},
                {"model", "NAME", "teacher, or a student: nf-0, independent-0 (nf-0)"},
                {"count", "N", "samples (100)"},
                {"labels", "LIST", "classes, used in turn; data: as often as in the data, as scored (every class)"},
                {"seed", "N", "of the noise; equal seeds give equal noise for all models (0)"},
                {"solver", "NAME", "of a student: euler, midpoint, heun, heun-full, rk4 or dopri5 (euler)"},
                {"nfe", "N", "evaluations of a student's network a sample (4)"},
                {"grid", "NAME", "times of its steps: uniform or squared (uniform)"},
                {"times", "LIST", "instead of --nfe and --grid: the times, ascending from 0 (data) to 1 (noise)"},
                {"atol", "X", "absolute tolerance of dopri5 (1e-5)"},
                {"rtol", "X", "its relative tolerance (1e-5)"},
                {"guidance", "G", "guidance; none is 1 for a student (1), 0 for the teacher (0)"},
                {"guidance-from", "T", "a student is guided from this time (0)"},
                {"guidance-to", "T", "up to this one (1)"},
                {"annealed", "", "the teacher's guidance grows with the token's position"},
                {"temperature", "X", "of attention in the teacher's unlabelled branch (1)"},
                {"no-denoising", "", "leave the noise of its training on the teacher's samples"},
                {"batch", "N", "samples made at once (the run's evaluate.slice-rows, or all where there are fewer)"},
                {"precision", "NAME", "float32 or bfloat16 (the run's evaluate.precision)"},
                {"threads", "N", "a rank (the run's pipeline.threads)"},
                {"device", "NAME", "auto, cpu or cuda (the run's pipeline.device)"}},
      .takes_keys = false,
      .notes =
          "FILE.npz holds arr_0, uint8 [N, H, W, C], and arr_1, the classes, as ADM's samplers write them; a folder\n"
          "holds 000000-class-3.png and so on. Both are written as samples are made: memory does not grow with N.\n"
          "Ranks share the samples, with the same bytes: mpirun -n N couplet sample ...\n"
          "Samples that are not finite are written with those values black or white, counted and told; the exit\n"
          "status is then 1. docs/commands.md says more.\n"};
}

SampleRequest parse_sample_request(const CommandLine& line) {
  SampleRequest request;
  request.model = line.get("model", request.model);
  request.count = line.integer("count", request.count, 1);
  request.labels = parse_labels(line);
  request.seed = static_cast<std::uint64_t>(line.integer("seed", 0, 0));
  if (request.model == "teacher")
    parse_teacher(line, request);
  else
    parse_student(line, request);
  return request;
}

std::vector<Setting> sample_settings(const CommandLine& line) {
  std::vector<Setting> settings;
  for (const auto& [flag, key] : execution_flags)
    if (line.has(flag)) settings.push_back({key, line.get(flag), std::string("--") + flag});
  return settings;
}

}  // namespace couplet
