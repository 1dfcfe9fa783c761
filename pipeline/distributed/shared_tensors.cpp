#include "pipeline/distributed/shared_tensors.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/nn/module.h>
#include <nlohmann/json.hpp>

namespace couplet {
namespace {

/// {name: {"type", "sizes"}}
nlohmann::json outlines_of(const NamedTensors& tensors) {
  nlohmann::json outlines = nlohmann::json::object();
  for (const auto& [name, tensor] : tensors)
    outlines[name] = {{"type", static_cast<int>(tensor.scalar_type())}, {"sizes", tensor.sizes().vec()}};
  return outlines;
}

NamedTensors empty_tensors(const nlohmann::json& outlines) {
  NamedTensors tensors;
  for (const auto& [name, outline] : outlines.items())
    tensors.emplace(name, at::empty(outline.at("sizes").get<std::vector<std::int64_t>>(),
                                    static_cast<at::ScalarType>(outline.at("type").get<int>())));
  return tensors;
}

}  // namespace

NamedTensors broadcast_tensors(const NamedTensors& tensors, Communicator& communicator) {
  const bool is_root = communicator.is_root();
  const auto outlines =
      nlohmann::json::parse(communicator.broadcast_text(is_root ? outlines_of(tensors).dump() : "", 0));
  NamedTensors shared = is_root ? tensors : empty_tensors(outlines);
  for (auto& [name, tensor] : shared) communicator.broadcast(tensor, 0);
  return shared;
}

void broadcast_weights(const torch::nn::Module& model, Communicator& communicator) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : named_tensors(model)) {
    auto values = tensor.detach();
    communicator.broadcast(values, 0);
  }
}

void load_for_all(torch::nn::Module& model, const std::filesystem::path& path, c10::Device device,
                  Communicator& communicator) {
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    const WorkingAlone alone("reading " + path.string());
    load_tensors(model, read_tensors(path), path.string());
  });
  model.to(device);
  broadcast_weights(model, communicator);
}

}  // namespace couplet
