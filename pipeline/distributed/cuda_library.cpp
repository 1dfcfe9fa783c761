#include "pipeline/distributed/cuda_library.h"

#include "storage/error.h"

#include <dlfcn.h>
#include <fmt/ranges.h>

#include <filesystem>

namespace couplet {
namespace {

constexpr const char* file_name = "libcouplet_cuda.so";
constexpr const char* symbol_name = "couplet_cuda_library_4";

/// Never unloaded: LibTorch keeps pointers into the CUDA back end.
void* load(std::string& missing) {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<std::string> looked_for;
  for (const auto& folder : {program, program / ".." / "lib"}) {
    const std::filesystem::path path = folder / file_name;
    looked_for.push_back(path.lexically_normal().string());
    if (!std::filesystem::exists(path, error)) continue;
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) return library;
    missing = fmt::format("{} cannot be loaded: {}", looked_for.back(), dlerror());
    return nullptr;
  }
  if (void* library = dlopen(file_name, RTLD_NOW | RTLD_GLOBAL)) return library;
  missing =
      fmt::format("no {} (looked for {}; by LD_LIBRARY_PATH: {})", file_name, fmt::join(looked_for, ", "), dlerror());
  return nullptr;
}

Cuda look_for_cuda() {
  Cuda cuda;
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (!driver) {
    cuda.missing = fmt::format("no NVIDIA driver ({})", dlerror());
    return cuda;
  }
  cuda.driver = true;
  dlclose(driver);
  void* const library = load(cuda.missing);
  if (!library) return cuda;
  using Factory = decltype(couplet_cuda_library_4);
  auto* const factory = reinterpret_cast<Factory*>(dlsym(library, symbol_name));
  if (!factory) {
    cuda.missing = fmt::format("{} is of another version of the program: it has no {}", file_name, symbol_name);
    return cuda;
  }
  try {
    cuda.devices = factory()->device_count();
    cuda.library = factory();
  } catch (const Error& error) {
    cuda.missing = error.what();
  }
  return cuda;
}

}  // namespace

const Cuda& find_cuda() {
  static const Cuda cuda = look_for_cuda();
  return cuda;
}

}  // namespace couplet
