// couplet version: the program's version and those of the libraries that it runs with.
#include "launch/commands/commands.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/make_communicator.h"

#include <H5public.h>
#include <fmt/ranges.h>
#include <torch/version.h>

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

int version_command(const std::vector<std::string>& words) {
  const CommandSyntax syntax{.name = "version",
                             .arguments = "",
                             .summary = "print the versions of the program and of its libraries",
                             .flags = {},
                             .takes_keys = false,
                             .notes = ""};
  const CommandLine line(syntax, words);
  if (line.help()) {
    fmt::print("{}", help_text(syntax));
    return exit_ok;
  }
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  fmt::print("couplet {}\nLibTorch {}\nHDF5 {}.{}.{}\nMPI {}\nCUDA {}\n", COUPLET_VERSION, TORCH_VERSION, major, minor,
             release, mpi_name(), cuda_state());
  return exit_ok;
}

}  // namespace couplet
