// Tensors for Python's torch.load.
#pragma once

#include "pipeline/tensor/weights.h"

#include <filesystem>

namespace couplet {

/// Publishes a file that torch.load (also with weights_only) reads as a plain dict from names to tensors.
void publish_torch_file(const std::filesystem::path& path, const NamedTensors& tensors);

}  // namespace couplet
