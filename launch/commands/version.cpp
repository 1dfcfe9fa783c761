// couplet version: what the program was built of, and the libraries that it runs with.
#include "launch/commands/commands.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/make_communicator.h"
#include "storage/library_versions.h"

#include <fmt/ranges.h>
#include <torch/version.h>
#include <boost/version.hpp>

namespace couplet {

namespace {

std::string cuda_state() {
  const Cuda& cuda = find_cuda();
#ifdef COUPLET_CUDA
  if (!cuda.library) return "built; not usable: " + cuda.missing;
#else
  if (!cuda.library)
    return "not built: CUDA's and NCCL's headers were not found, or COUPLET_CUDA was OFF (docs/gpu.md)";
#endif
  std::vector<std::string> places;
  for (int device = 0; device < cuda.devices; ++device) places.push_back(cuda.library->place_of(device));
  return fmt::format("built; {} usable: {}", cuda.devices == 1 ? "1 GPU is" : fmt::format("{} GPUs are", cuda.devices),
                     fmt::join(places, ", "));
}

}  // namespace

CommandSyntax version_syntax() {
  return {.name = "version",
          .arguments = "",
          .summary = "print what the program was built of, and the versions of its libraries",
          .flags = {},
          .takes_keys = false,
          .notes = "Quote all of it where you report a fault.\n"};
}

int version_command(const std::vector<std::string>& words) {
  const CommandLine line(version_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(version_syntax()));
    return exit_ok;
  }
  fmt::print("couplet {}\ncommit {}\ncompiler {}\nbuild type {}\nLibTorch {}\n", COUPLET_VERSION, program_commit(),
             COUPLET_COMPILER, COUPLET_BUILD_TYPE, TORCH_VERSION);
  for (const auto& [library, version] : storage_library_versions()) fmt::print("{} {}\n", library, version);
  fmt::print("Boost {}.{}.{}\nfmt {}.{}.{}\nMPI {}\nCUDA {}\n", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000,
             BOOST_VERSION % 100, FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100, mpi_name(),
             cuda_state());
  return exit_ok;
}

}  // namespace couplet
