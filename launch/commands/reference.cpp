// couplet reference: statistics of a data set's images, for Fréchet distances to them.
#include "launch/commands/commands.h"

#include "launch/commands/rank_end.h"
#include "method/data/dataset.h"
#include "method/features/open_network.h"
#include "method/scoring/reference_statistics.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/process/host.h"
#include "pipeline/process/log.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace couplet {

CommandSyntax reference_syntax() {
  return {.name = "reference",
          .arguments = "DATASET",
          .summary = "make statistics of a data set's images, which Fréchet distances compare with",
          .flags = {{"network", "FILE",
                     "a TorchScript program, or weights of the FID Inception network (safetensors, .pth)"},
                    {"network-args", "LIST", "arguments of a TorchScript program besides the images"},
                    {"output", "FILE", "file to write, .safetensors or .npz; it must not exist"},
                    {"split", "NAME", "what to call these images (the name of DATASET's directory)"},
                    {"device", "NAME", "auto, cpu or cuda (auto)", false, 0, find_option("pipeline.device").allowed}},
          .takes_keys = false,
          .notes =
              "DATASET is a directory of data-set shards, such as RUN/prepare/train. The statistics are in float64,\n"
              "over all its images. The number of images, the network, its content hash, the resize mode, the data\n"
              "set and the split are kept with them. An .npz file has mu and sigma (mu_s and sigma_s of spatial\n"
              "features), as pytorch-fid, ADM and EDM read them. Ranks share the images, with the same digits:\n"
              "mpirun -n N couplet reference DATASET ...\n"};
}

namespace {

/// The name of the last directory of a path: "train" of "RUN/prepare/train/".
std::string directory_name(const std::filesystem::path& path) {
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

/// Split as the key evaluate.network-args is.
std::vector<std::string> parse_arguments(const CommandLine& line) {
  Config config = default_config();
  set_value(config, {"evaluate.network-args", line.get("network-args"), "--network-args"});
  return config.evaluate.network_args;
}

void reference_on_ranks(const CommandLine& line, const std::string& device, Communicator& communicator) {
  const std::filesystem::path output = new_output(line, {".safetensors", ".npz"});
  const NetworkFile file{line.required("network"), parse_arguments(line)};
  const RowTable images(line.argument(), dataset_format);
  const auto network = make_feature_network(file, pick_device(device, communicator));
  const ReferenceStatistics statistics =
      make_reference(*network, images, line.get("split", directory_name(line.argument())), "", communicator);
  if (!communicator.is_root()) return;
  save_reference(output, statistics);
  fmt::print("{}: {} features of {} images ({}) by {}, resize: {}\n", output.string(), statistics.moments.dimension(),
             statistics.moments.count, statistics.split, statistics.network, statistics.resize);
  if (statistics.moments.count <= statistics.moments.dimension())
    fmt::print("a Fréchet distance needs at least {} images; these are {}\n", statistics.moments.dimension() + 1,
               statistics.moments.count);
}

}  // namespace

int reference_command(const std::vector<std::string>& words) {
  const CommandLine line(reference_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(reference_syntax()));
    return exit_ok;
  }
  return run_rank([&] {
    const std::string device = resolve_device(line.get("device", "auto"));
    // Features are gathered on the CPU.
    const auto communicator = make_communicator("cpu");
    open_log("", "", communicator->rank(), communicator->size());
    at::set_num_threads(static_cast<int>(std::max<std::int64_t>(1, usable_cores() / communicator->size())));
    reference_on_ranks(line, device, *communicator);
    return static_cast<int>(exit_ok);
  });
}

}  // namespace couplet
