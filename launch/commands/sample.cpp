// couplet sample: samples of any trained model of a run, for people and for outside evaluators.
#include "launch/commands/commands.h"
#include "launch/commands/rank_end.h"
#include "launch/commands/sample_options.h"
#include "launch/local/ranks.h"

#include "method/sampling/sample_output.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>

namespace couplet {

namespace {

/// What all ranks must agree on before any work, or samples would be a mixture.
nlohmann::json facts_of(const std::vector<std::string>& words, const Config& config) {
  nlohmann::json facts = {{"program version", COUPLET_VERSION},
                          {"command line", words},
                          {"device", resolve_device(config.pipeline.device)}};
  for (const Option& option : options())
    if (option.kind == OptionKind::result) facts[option.key] = value_text(config, option.key);
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
  if (request.integration.adaptive())
    text += fmt::format(", NFE {:.1f} a sample ({} to {} a batch)", tally.nfe_mean(), tally.nfe_least, tally.nfe_most);
  return text;
}

/// What was made, and the exit status that it deserves.
int tell(const SampleRequest& request, const SampleTally& tally, const std::filesystem::path& output) {
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

int sample_on_ranks(const CommandLine& line, const std::vector<std::string>& words, RankIdentity& identity) {
  const SampleRequest request = parse_sample_request(line);
  const RunDirectory run(line.required("run-dir"));
  const SampleOutput output(line.required("output"), request.count, line.has("overwrite"));
  if (!std::filesystem::exists(run.config()))
    refuse("{} is no run directory: it has no config.ini", run.root().string());
  const Config config = resolve_config(run.config(), sample_settings(line));
  const std::string device = resolve_device(config.pipeline.device);
  // Samples come together on the CPU.
  const auto communicator = make_communicator("cpu");
  identity = {communicator->rank(), communicator->size()};
  open_log("", "", communicator->rank(), communicator->size());
  require_agreement(*communicator, "what they are to sample", facts_of(words, config));
  at::set_num_threads(static_cast<int>(resolve_task_threads(config.pipeline, local_ranks())));
  if (communicator->is_root()) output.require_place();

  const Sampler sampler(run, config, request, pick_device(device, *communicator));
  const DatasetShape& shape = sampler.shape();
  SampleStream stream(
      request.count, rows_at_once(line, config, request), {shape.channels, shape.size, shape.size},
      [&](std::int64_t first, std::int64_t count) { return sampler.make(first, count); }, *communicator);
  if (!communicator->is_root()) {
    while (!stream.done()) stream.next();
    return exit_ok;
  }
  const auto asked = static_cast<std::int64_t>(request.labels.classes.size());
  output.write(
      stream, [&](std::int64_t first, std::int64_t count) { return sampler.labels(first, count); },
      picture_columns(asked > 0 ? asked : shape.classes));
  return tell(request, stream.tally(), output.path());
}

}  // namespace

int sample_command(const std::vector<std::string>& words) {
  watch_signals();
  return run_rank([&](RankIdentity& identity) {
    const CommandLine line(sample_syntax(), words);
    if (line.help()) {
      fmt::print("{}", help_text(sample_syntax()));
      return static_cast<int>(exit_ok);
    }
    if (std::getenv("OMPI_COMM_WORLD_SIZE")) end_with_parent();
    return sample_on_ranks(line, words, identity);
  });
}

}  // namespace couplet
