// couplet sample: a picture of samples from any trained model of a run.
#include "launch/commands.h"
#include "launch/ranks.h"

#include "pipeline/device.h"
#include "pipeline/run_directory.h"
#include "stages/evaluate/sampling.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <charconv>

namespace couplet {

namespace {

CommandSyntax sample_syntax() {
  return {.name = "sample",
          .arguments = "",
          .summary = "draw samples from a trained model into a PNG file",
          .flags = {{"run-dir", "DIR", "the run directory"},
                    {"output", "FILE", "PNG file to write"},
                    {"model", "NAME", "teacher, or a student: nf-0, independent-0 (nf-0)"},
                    {"count", "N", "samples (100)"},
                    {"labels", "LIST", "classes, separated by spaces or commas, used in turn (every class)"},
                    {"solver", "NAME", "euler, midpoint, heun, heun-full or rk4, of a student (euler)"},
                    {"nfe", "N", "function evaluations a sample, of a student (4)"},
                    {"grid", "NAME", "uniform or squared, of a student (uniform)"},
                    {"guidance", "G", "guidance; none is 1 for a student (1), 0 for the teacher (0)"},
                    {"seed", "N", "of the noise; equal seeds give equal noise for all models (0)"},
                    {"device", "NAME", "auto, cpu or cuda (as in the run's config.ini)"}},
          .takes_keys = false,
          .notes = ""};
}

std::vector<std::int64_t> parse_labels(const std::string& text) {
  std::vector<std::int64_t> labels;
  for (std::size_t end = 0, begin = 0; (begin = text.find_first_not_of(" ,", end)) != std::string::npos;) {
    end = std::min(text.find_first_of(" ,", begin), text.size());
    const auto parsed = std::from_chars(text.data() + begin, text.data() + end, labels.emplace_back());
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + end || labels.back() < 0)
      refuse("--labels \"{}\": expected whole numbers from 0, separated by spaces or commas", text);
  }
  return labels;
}

SampleRequest parse_request(const CommandLine& line) {
  SampleRequest request;
  request.model = line.get("model", request.model);
  request.count = line.integer("count", request.count, 1);
  request.labels = parse_labels(line.get("labels"));
  request.solver = parse_solver(line.get("solver", "euler"));
  request.grid = parse_grid(line.get("grid", "uniform"));
  request.nfe = line.integer("nfe", request.nfe, 1);
  request.guidance = line.number("guidance", request.model == "teacher" ? 0 : 1);
  request.seed = static_cast<std::uint64_t>(line.integer("seed", 0, 0));
  return request;
}

}  // namespace

int sample_command(const std::vector<std::string>& words) {
  const CommandLine line(sample_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(sample_syntax()));
    return exit_ok;
  }
  const RunDirectory run(line.required("run-dir"));
  const std::filesystem::path output = line.required("output");
  if (!std::filesystem::exists(run.config()))
    refuse("{} is no run directory: it has no config.ini", run.root().string());
  std::vector<Setting> settings;
  if (line.has("device")) settings.push_back({"pipeline.device", line.get("device"), "--device"});
  const Config config = resolve_config(run.config(), settings);
  const SampleRequest request = parse_request(line);

  const auto communicator = make_single_communicator();
  at::set_num_threads(static_cast<int>(resolve_threads(config.pipeline, 1)));
  write_png(output, sample_picture(run, config, request, pick_device(config.pipeline.device, *communicator)));
  fmt::print("{} samples of {} in {}\n", request.count, request.model, output.string());
  return exit_ok;
}

}  // namespace couplet
