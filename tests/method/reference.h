// Values computed with other people's implementations (tests/data/reference, or the folder that COUPLET_REFERENCE
// names).
#pragma once

#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/formats/safetensors.h"

#include <ATen/ATen.h>

#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <string>

namespace couplet::testing {

constexpr double forward_tolerance = 2e-5;  ///< absolute, of forward values and gradients
constexpr double sample_tolerance = 1e-4;   ///< absolute, of sampled values

inline std::filesystem::path reference_folder() {
  const auto* folder = std::getenv("COUPLET_REFERENCE");
  return folder != nullptr && *folder != '\0' ? std::filesystem::path(folder)
                                              : std::filesystem::path(COUPLET_TEST_DATA) / "reference";
}

/// One safetensors file of the reference folder: "sit.weights" is sit.weights.safetensors.
struct ReferenceFile {
  std::filesystem::path path;
  std::map<std::string, std::string> metadata;
  NamedTensors tensors;

  explicit ReferenceFile(const std::string& name)
      : path(reference_folder() / (name + ".safetensors")),
        metadata(Safetensors(path).metadata()),
        tensors(read_tensors(path)) {}

  bool has(const std::string& name) const { return tensors.contains(name); }
  const at::Tensor& operator[](const std::string& name) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) fail("{}: no tensor {}", path.string(), name);
    return found->second;
  }
  /// A size from the metadata; `otherwise` where the file does not say.
  std::int64_t size(const std::string& name, std::int64_t otherwise = -1) const {
    const auto found = metadata.find(name);
    if (found != metadata.end()) return std::stoll(found->second);
    if (otherwise < 0) fail("{}: no {} in its metadata", path.string(), name);
    return otherwise;
  }
};

/// Largest absolute difference; infinite where shapes differ or a value is not finite.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  const auto gap = (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
  return gap == gap ? gap : std::numeric_limits<double>::infinity();
}

}  // namespace couplet::testing
