// couplet score: all metrics for images made by anybody.
#include "launch/commands/commands.h"

#include "launch/commands/rank_end.h"
#include "method/data/dataset.h"
#include "method/features/open_network.h"
#include "method/scoring/image_score.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/process/host.h"
#include "pipeline/process/log.h"
#include "pipeline/run/run_directory.h"
#include "stages/opened_run.h"
#include "stages/trained/models.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>

namespace couplet {

CommandSyntax score_syntax() {
  return {.name = "score",
          .arguments = "",
          .summary = "score images made by anybody against others, or against statistics of them",
          .flags = {{"samples", "PATH", "the images: .npz, folder of PNG files, or a data set's directory"},
                    {"reference", "PATH", "what to compare with: the same, or statistics (.npz, .safetensors)"},
                    {"network", "FILE",
                     "a TorchScript program, or weights of the FID Inception network (safetensors, .pth)"},
                    {"network-args", "LIST", "arguments of a TorchScript program besides the images"},
                    {"run-dir", "DIR", "take the network that this run's evaluations use"},
                    {"held-out", "PATH",
                     "images of the reference's kind that nothing was trained on, to tell memorisation"},
                    {"pairwise-images", "N",
                     "images of each set that are compared one by one, in memory; 0: Fréchet distance alone (10000)"},
                    {"paired", "", "sample i is to be image i of the reference: PSNR and SSIM"},
                    {"nearest", "K", "the K images of the reference nearest to each sample, by pixels"},
                    {"json", "", "print one JSON object"},
                    {"device", "NAME", "auto, cpu or cuda (auto)", false, 0, find_option("pipeline.device").allowed}},
          .takes_keys = false,
          .notes =
              "An .npz file has the images as arr_0, uint8 [N, H, W, C]; statistics are mu and sigma, or what\n"
              "`couplet reference` writes. With a network the command prints the Fréchet distance, kernel distance,\n"
              "precision, recall, density and coverage, the inception score where the network gives class scores,\n"
              "and sFID where it gives spatial features; docs/metrics.md says how each is computed. Without a\n"
              "network there are --paired and --nearest alone. Warnings go to stderr. Ranks share the images, with\n"
              "the same digits: mpirun -n N couplet score ...\n"};
}

namespace {

ImageScoreRequest parse_request(const CommandLine& line) {
  return {.samples = line.required("samples"),
          .reference = line.required("reference"),
          .held_out = line.get("held-out"),
          .compared_images = line.integer("pairwise-images", 10000, 0),
          .paired = line.has("paired"),
          .nearest = line.has("nearest") ? line.integer("nearest", 1, 1) : 0};
}

/// The network of --network, or of a run; none where only pixels are compared. Collective.
std::unique_ptr<FeatureNetwork> open_network(const CommandLine& line, const ImageScoreRequest& request,
                                             c10::Device device, Communicator& communicator) {
  if (line.has("network") && line.has("run-dir")) refuse("--network and --run-dir both name a network; give one");
  if (!line.has("network") && line.has("network-args")) refuse("--network-args are given without --network");
  if (line.has("network")) {
    Config config = default_config();
    set_value(config, {"evaluate.network-args", line.get("network-args"), "--network-args"});
    return make_feature_network({line.get("network"), config.evaluate.network_args}, device);
  }
  if (!line.has("run-dir")) {
    if (request.paired || request.nearest > 0) return nullptr;
    refuse("couplet score compares the features of a network: give --network FILE, or --run-dir DIR for a run's");
  }
  const RunDirectory run(line.get("run-dir"));
  require_run_directory(run);
  const Config config = resolve_config(run.config(), {});
  if (!config.evaluate.network.empty())
    return make_feature_network({config.evaluate.network, config.evaluate.network_args}, device);
  const DatasetShape shape = dataset_shape(RowTable(run.train_images(), dataset_format));
  if (!shape.has_classes())
    refuse("{} has no network of its own (its data set has fewer than two classes): give --network FILE",
           run.root().string());
  return make_feature_network(load_classifier(run, config.features, shape, device, communicator), network_name(config),
                              device);
}

void print_scores(const nlohmann::ordered_json& scores) {
  if (scores.contains("network"))
    fmt::print("network: {}, resize: {}\n", scores["network"]["name"].get<std::string>(),
               scores["network"]["resize"].get<std::string>());
  for (const auto& score : scores["scores"]) {
    const auto& value = score["value"];
    fmt::print("{:<25} {:<14} {} samples\n", score["metric"].get<std::string>(),
               value.is_null() ? "none" : fmt::format("{:.8g}", value.get<double>()), score["samples"].dump());
  }
  for (const auto& row : scores.value("nearest", nlohmann::ordered_json::array()))
    fmt::print("sample {}: nearest images {}, distances {}\n", row["sample"].dump(), row["images"].dump(),
               row["distances"].dump());
}

void score_on_ranks(const CommandLine& line, const std::string& device, Communicator& communicator) {
  const ImageScoreRequest request = parse_request(line);
  const auto network = open_network(line, request, pick_device(device, communicator), communicator);
  const nlohmann::ordered_json scores = score_images(request, network.get(), communicator);
  if (!communicator.is_root()) return;
  for (const auto& warning : scores["warnings"]) warn_line(warning.get<std::string>());
  if (line.has("json"))
    fmt::print("{}\n", scores.dump(1));
  else
    print_scores(scores);
}

}  // namespace

int score_command(const std::vector<std::string>& words) {
  const CommandLine line(score_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(score_syntax()));
    return exit_ok;
  }
  return run_rank([&] {
    const std::string device = resolve_device(line.get("device", "auto"));
    // Features are gathered on the CPU.
    const auto communicator = make_communicator("cpu");
    // Standard output is for the scores.
    open_log("", "", communicator->rank(), communicator->size(), stderr);
    at::set_num_threads(static_cast<int>(std::max<std::int64_t>(1, usable_cores() / communicator->size())));
    score_on_ranks(line, device, *communicator);
    return static_cast<int>(exit_ok);
  });
}

}  // namespace couplet
