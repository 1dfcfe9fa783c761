#include "pipeline/checkpoint/trained_state.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

namespace couplet {
namespace {

constexpr char weights_name[] = "weights.safetensors";
constexpr char optimizer_name[] = "optimizer.safetensors";
constexpr char average_suffix[] = ".exp_avg";
constexpr char square_suffix[] = ".exp_avg_sq";

}  // namespace

TrainedState::TrainedState(torch::nn::Module& model, const FlatParameters& parameters, AdamW& optimizer,
                           std::vector<Ema>& emas, Communicator& communicator)
    : model_(model), parameters_(parameters), optimizer_(optimizer), emas_(emas), communicator_(communicator) {}

std::map<std::string, NamedTensors> TrainedState::host_copy() {
  const at::NoGradGuard no_grad;
  std::map<std::string, NamedTensors> files;
  if (communicator_.is_root()) {
    const NamedTensors others = host_copies(untrained());
    std::vector<at::Tensor> values;
    for (const auto& bucket : parameters_.buckets()) values.push_back(bucket.values);
    files[weights_name] = weights_file(weights_name, values, others);
    for (std::size_t i = 0; i < emas_.size(); ++i) {
      const std::string name = ema_file(i, emas_[i].rate());
      files[name] = weights_file(name, emas_[i].averages(), others);
    }
  }
  NamedTensors optimizer = optimizer_file();  // collective
  if (communicator_.is_root()) files[optimizer_name] = std::move(optimizer);
  return files;
}

NamedTensors TrainedState::weights_file(const std::string& name, const std::vector<at::Tensor>& flat,
                                        const NamedTensors& others) {
  auto& host = host_memory(name);
  for (std::size_t i = 0; i < flat.size(); ++i) host[i].copy_(flat[i]);
  NamedTensors file = parameters_.named(host);
  file.insert(others.begin(), others.end());
  return file;
}

NamedTensors TrainedState::optimizer_file() {
  NamedTensors file;
  for (const auto& [suffix, shares] :
       {std::pair{average_suffix, &optimizer_.averages()}, std::pair{square_suffix, &optimizer_.square_averages()}}) {
    // Bucket by bucket: even on the rank that writes, the device never holds all of what is shared.
    for (std::size_t i = 0; i < shares->size(); ++i) {
      const at::Tensor& share = (*shares)[i];
      const at::Tensor values = optimizer_.share().is_whole() ? share : communicator_.gather_at_root(share);
      if (communicator_.is_root()) host_memory(suffix)[i].copy_(values.flatten());
    }
    if (communicator_.is_root()) file.merge(parameters_.named(host_memory(suffix), suffix));
  }
  return file;
}

std::vector<at::Tensor>& TrainedState::host_memory(const std::string& name) {
  auto& host = host_[name];
  if (!host.empty()) return host;
  for (const auto& bucket : parameters_.buckets()) {
    const auto options = at::TensorOptions().dtype(bucket.values.scalar_type());
    host.push_back(at::zeros(bucket.values.sizes(), options.pinned_memory(bucket.values.is_cuda())));
  }
  return host;
}

void TrainedState::take(const Checkpoint& checkpoint) {
  const WorkingAlone alone("restoring " + checkpoint_name(checkpoint.step));
  const std::string directory = checkpoint_name(checkpoint.step) + "/";
  load_tensors(model_, checkpoint.file(weights_name), directory + weights_name);
  for (std::size_t i = 0; i < emas_.size(); ++i) {
    const std::string name = ema_file(i, emas_[i].rate());
    restore_tensors(parameters_.named(emas_[i].averages()), checkpoint.file(name), directory + name);
  }
  for (const char* suffix : {average_suffix, square_suffix})
    restore_tensors(parameters_.named(host_memory(suffix), suffix), checkpoint.file(optimizer_name),
                    directory + optimizer_name);
}

void TrainedState::restore(const Checkpoint& checkpoint) {
  const at::NoGradGuard no_grad;
  const bool is_root = communicator_.is_root();
  run_on_all(communicator_, [&] {
    if (is_root) take(checkpoint);
  });
  const auto give = [&](at::Tensor values) { communicator_.broadcast(values, 0); };
  for (const auto& [name, tensor] : untrained()) give(tensor);
  for (const Bucket& bucket : parameters_.buckets()) give(bucket.values);
  for (const Ema& ema : emas_)
    for (const at::Tensor& average : ema.averages()) give(average);
  for (const auto& [suffix, shares] :
       {std::pair{average_suffix, &optimizer_.averages()}, std::pair{square_suffix, &optimizer_.square_averages()}}) {
    for (std::size_t i = 0; i < shares->size(); ++i) {
      const at::Tensor values = at::empty_like(parameters_.buckets()[i].values);
      if (is_root) values.copy_(host_memory(suffix)[i]);
      give(values);
      at::Tensor((*shares)[i]).copy_(optimizer_.share().of(values));
    }
  }
}

NamedTensors TrainedState::untrained() const {
  NamedTensors tensors;
  for (auto& [name, tensor] : named_tensors(model_)) {
    if (!tensor.requires_grad()) tensors.emplace(name, tensor.detach());
  }
  return tensors;
}

NamedTensors host_copies(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors)
    copies.emplace(name, tensor.detach().to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true));
  return copies;
}

}  // namespace couplet
