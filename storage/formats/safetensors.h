// safetensors files (https://github.com/huggingface/safetensors): an 8-byte header length, a JSON header, raw tensors.
#pragma once

#include "storage/formats/tensor_view.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace couplet {

/// Writes the tensors in the order of their names, so that equal content gives equal bytes, to `path`, a temporary name
/// to be published with Pending.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Reads only the header. A file that has none, or is not as long as its header says, is an error that names it.
void require_safetensors(const std::filesystem::path& path);

/// A safetensors file, read whole. A truncated file, overlapping or missing ranges, a type that we do not read, a name
/// that stands twice, and a header that is no JSON or is nested deeper than the format has it are errors that name the
/// file and the tensor.
class Safetensors {
public:
  explicit Safetensors(const std::filesystem::path& path);
  /// The same of bytes that were read from `path`.
  Safetensors(std::filesystem::path path, std::vector<std::byte> bytes);
  // The views point into bytes_: moving keeps them, a copy would not.
  Safetensors(Safetensors&&) noexcept = default;
  Safetensors& operator=(Safetensors&&) noexcept = default;

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Returns the tensor of that name. An unknown one is an error that names the file and the nearest names that it
  /// holds.
  const TensorView& at(const std::string& name) const;

private:
  std::filesystem::path path_;
  std::vector<std::byte> bytes_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace couplet
