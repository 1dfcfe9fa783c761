#include "pipeline/tensor/weights.h"

#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/formats/state_dict.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace couplet {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

bool is_ignored(const std::string& name, const std::set<std::string>& ignored) {
  return std::any_of(ignored.begin(), ignored.end(), [&](const std::string& suffix) { return name.ends_with(suffix); });
}

/// The tensor's own bytes on the CPU, row-major.
at::Tensor host_copy(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU).contiguous();
}

NamedTensors copies_of(const std::map<std::string, TensorView>& views) {
  NamedTensors tensors;
  for (const auto& [name, view] : views) {
    auto tensor = at::empty(view.shape, at::TensorOptions().dtype(scalar_type(view.type)));
    if (!view.bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

/// All names the module lacks or the source lacks are listed, up to a few.
std::string some_names(const std::vector<std::string>& names) {
  constexpr std::size_t shown = 4;
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<std::ptrdiff_t>(std::min(shown, names.size())));
  return fmt::format("{}{}", fmt::join(first, ", "),
                     names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "");
}

/// What stands before every name where a wrapper of the model wrote them; nothing where they differ in another way.
std::string prefix_of_wrapper(const std::vector<std::string>& missing, const std::vector<std::string>& unknown) {
  const std::set<std::string> there(unknown.begin(), unknown.end());
  for (const std::string& name : unknown) {
    if (!name.ends_with("." + missing.front())) continue;
    const std::string prefix = name.substr(0, name.size() - missing.front().size());
    if (std::ranges::all_of(missing, [&](const std::string& own) { return there.contains(prefix + own); }))
      return prefix;
  }
  return "";
}

void require_same_names(const NamedTensors& own, const NamedTensors& tensors, const std::string& source,
                        const std::set<std::string>& ignored) {
  std::vector<std::string> missing, unknown;
  for (const auto& [name, tensor] : own) {
    if (!tensors.contains(name) && !is_ignored(name, ignored)) missing.push_back(name);
  }
  for (const auto& [name, tensor] : tensors) {
    if (!own.contains(name) && !is_ignored(name, ignored)) unknown.push_back(name);
  }
  if (!missing.empty() && !unknown.empty()) {
    if (const std::string prefix = prefix_of_wrapper(missing, unknown); !prefix.empty()) {
      fail(
          "{}: holds {}, where the model has {}: every name begins with '{}', which a wrapper of the model adds "
          "(DistributedDataParallel, torch.compile); save the weights of the model inside it, or take '{}' off the "
          "names",
          source, prefix + missing.front(), missing.front(), prefix, prefix);
    }
    fail("{}: the model's {} is missing in these weights, which hold {} instead: they are of another model", source,
         some_names(missing), some_names(unknown));
  }
  if (!missing.empty()) fail("{}: the model's {} is missing in these weights", source, some_names(missing));
  if (!unknown.empty()) fail("{}: holds {}, which the model does not have", source, some_names(unknown));
}

}  // namespace

torch::nn::Module& add_scope(torch::nn::Module& parent, const std::string& name) {
  return *parent.register_module(name, std::make_shared<torch::nn::Module>());
}

NamedTensors named_tensors(const torch::nn::Module& module) {
  NamedTensors tensors;
  for (const auto& item : module.named_parameters()) tensors.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) tensors.emplace(item.key(), item.value());
  return tensors;
}

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<at::Tensor> copies;
  std::map<std::string, TensorView> views;
  copies.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto& copy = copies.emplace_back(host_copy(tensor));
    views[name] = {element_type(copy.scalar_type()), copy.sizes().vec(), bytes_of(copy)};
  }
  write_safetensors(path, views, metadata);
}

NamedTensors read_tensors(const std::filesystem::path& path) {
  if (torch_file(path) != TorchFile::none) return copies_of(StateDict(path).tensors());
  return tensors_of(Safetensors(path));
}

void require_tensors(const std::filesystem::path& path) {
  if (torch_file(path) != TorchFile::none)
    require_state_dict(path);
  else
    require_safetensors(path);
}

NamedTensors tensors_of(const Safetensors& file) {
  return copies_of(file.tensors());
}

void load_tensors(torch::nn::Module& module, const NamedTensors& tensors, const std::string& source,
                  const std::set<std::string>& ignored) {
  const auto own = named_tensors(module);
  require_same_names(own, tensors, source, ignored);
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (found != tensors.end() && found->second.sizes() != tensor.sizes()) {
      fail("{}: {} has shape {}, the model's has {}: these weights belong to a model of other sizes", source, name,
           shape_text(found->second.sizes()), shape_text(tensor.sizes()));
    }
    if (found != tensors.end() && tensor.is_floating_point() && !found->second.is_floating_point())
      fail("{}: {} holds whole numbers ({}); weights are floating-point numbers", source, name,
           at::toString(found->second.scalar_type()));
  }
  // Only after every check: a refused source leaves the module as it was.
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) {
    const auto found = tensors.find(name);
    if (found != tensors.end()) tensor.copy_(found->second);
  }
}

void require_finite_weights(const torch::nn::Module& module, const std::string& source) {
  std::vector<std::string> bad;
  std::int64_t values = 0;
  for (const auto& [name, tensor] : named_tensors(module)) {
    const std::int64_t here = tensor.detach().isfinite().logical_not().sum().item<std::int64_t>();
    if (here > 0) bad.push_back(name);
    values += here;
  }
  if (!bad.empty())
    refuse("{}: {} of its values are NaN or infinite, in {}: these weights are of a model that diverged", source,
           values, some_names(bad));
}

std::string tensors_hash(const NamedTensors& tensors) {
  std::string text;
  for (const auto& [name, tensor] : tensors) {
    const auto copy = host_copy(tensor);
    const auto bytes = bytes_of(copy);
    text += fmt::format("{} {} {} {}\n", name, element_name(element_type(copy.scalar_type())), shape_text(copy.sizes()),
                        hash_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  }
  return hash_text(text);
}

at::ScalarType scalar_type(ElementType type) {
  switch (type) {
    case ElementType::uint8:
      return at::kByte;
    case ElementType::int32:
      return at::kInt;
    case ElementType::int64:
      return at::kLong;
    case ElementType::float16:
      return at::kHalf;
    case ElementType::bfloat16:
      return at::kBFloat16;
    case ElementType::float32:
      return at::kFloat;
    case ElementType::float64:
      return at::kDouble;
  }
  fail("element type {} is not one of ours", static_cast<int>(type));
}

ElementType element_type(at::ScalarType type) {
  switch (type) {
    case at::kByte:
      return ElementType::uint8;
    case at::kInt:
      return ElementType::int32;
    case at::kLong:
      return ElementType::int64;
    case at::kHalf:
      return ElementType::float16;
    case at::kBFloat16:
      return ElementType::bfloat16;
    case at::kFloat:
      return ElementType::float32;
    case at::kDouble:
      return ElementType::float64;
    default:
      fail("our files hold no tensors of type {}", c10::toString(type));
  }
}

void publish_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                     const std::map<std::string, std::string>& metadata) {
  Pending pending(path);
  write_tensors(pending.path(), tensors, metadata);
  pending.commit();
}

std::int64_t parameter_count(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : module.parameters()) count += parameter.requires_grad() ? parameter.numel() : 0;
  return count;
}

}  // namespace couplet
