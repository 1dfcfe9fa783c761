// Programs in TorchScript that users bring.
#pragma once

#include <c10/core/Device.h>
#include <torch/csrc/jit/api/module.h>

#include <exception>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// A program in evaluation mode on the device. Refuses what is no such file, or lacks one of the methods.
torch::jit::Module load_script(const std::filesystem::path& path, const std::vector<std::string>& methods,
                               c10::Device device);
/// Its parameters and buffers.
std::vector<at::Tensor> script_weights(const torch::jit::Module& program);
/// The line of an exception's text that says what went wrong: TorchScript puts a trace before it.
std::string script_error(const std::exception& error);

}  // namespace couplet
