// Tensors by name, carried between modules, maps and files.
#pragma once

#include "storage/formats/safetensors.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

namespace torch::nn {
class Module;
}

namespace couplet {

using NamedTensors = std::map<std::string, at::Tensor>;

/// Adds a module that only lends its name to what is registered in it ("attn" in "attn.qkv.weight").
torch::nn::Module& add_scope(torch::nn::Module& parent, const std::string& name);

/// Returns parameters and buffers by their dotted names. The tensors share memory with the module.
NamedTensors named_tensors(const torch::nn::Module& module);
/// Writes CPU copies to `path`, a temporary name to be published with Pending. Equal tensors give equal bytes.
void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata = {});
/// Publishes the file, whole or not at all.
void publish_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                     const std::map<std::string, std::string>& metadata = {});
/// Reads all tensors, into memory of their own, from a safetensors file or a state dict of PyTorch (.pth): which of
/// them it is, its first bytes say.
NamedTensors read_tensors(const std::filesystem::path& path);
/// Looks whether a file is one that `read_tensors` reads, by its first bytes and its header or directory: no tensor is
/// read. Anything else is an error that says what it is not.
void require_tensors(const std::filesystem::path& path);
/// The same from a safetensors file that has been read.
NamedTensors tensors_of(const Safetensors& file);
/// Copies `tensors` into the module by name. A missing or unknown name, a shape that differs, or whole numbers for
/// values that are none are an error that names the tensor, both sides and `source`. Names in `ignored` (suffix match,
/// e.g. "attn_mask") may be present in the source and are skipped.
void load_tensors(torch::nn::Module& module, const NamedTensors& tensors, const std::string& source,
                  const std::set<std::string>& ignored = {});
/// Refuses a module that holds values that are not finite, naming tensors and `source`, whose weights it has.
void require_finite_weights(const torch::nn::Module& module, const std::string& source);
/// The number of trained values of a module; buffers do not count.
std::int64_t parameter_count(const torch::nn::Module& module);
/// The hash of names, shapes and bytes.
std::string tensors_hash(const NamedTensors& tensors);

at::ScalarType scalar_type(ElementType type);
ElementType element_type(at::ScalarType type);

}  // namespace couplet
