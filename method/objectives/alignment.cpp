#include "method/objectives/alignment.h"

#include "method/models/patches.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <map>
#include <utility>

namespace couplet {
namespace {

constexpr char network_scope[] = "network";

/// The network, which keeps what its layers put out in its first pass.
class KeptLayers : public Field {
public:
  explicit KeptLayers(Field& network) : network_(network) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override {
    return layers.empty() ? network_.forward_by_layers(x, t, condition, layers) : network_.forward(x, t, condition);
  }
  std::int64_t no_label() const override { return network_.no_label(); }
  double forward_flops() const override { return network_.forward_flops(); }
  std::int64_t activation_values() const override { return network_.activation_values(); }
  std::map<std::string, std::string> sizes() const override { return network_.sizes(); }

  std::vector<at::Tensor> layers;

private:
  Field& network_;
};

/// What a map gives of a token: the values of a patch.
std::int64_t patch_values(const TarFlowOptions& teacher, const AlignmentOptions& options) {
  return teacher.in_channels * options.patch * options.patch;
}

/// The teacher's blocks as far as the places need them.
TarFlowOptions needed_blocks(TarFlowOptions teacher, const AlignmentOptions& options) {
  teacher.blocks = aligned_states(options.layers, teacher.blocks).front().block;
  if (teacher.layers.size() > 1) teacher.layers.resize(static_cast<std::size_t>(teacher.blocks));
  return teacher;
}

}  // namespace

std::vector<AlignedState> aligned_states(std::int64_t layers, std::int64_t blocks) {
  const std::int64_t steps = std::min(layers, blocks);
  const auto share = [&](std::int64_t k, std::int64_t of) { return (2 * k * of + steps) / (2 * steps); };
  std::vector<AlignedState> states;
  for (std::int64_t k = 1; k < steps; ++k) states.push_back({share(k, layers), blocks - share(k, blocks)});
  return states;
}

AlignmentFlops forward_flops(const TarFlowOptions& teacher, const AlignmentOptions& options) {
  const std::int64_t side = teacher.image_size / options.patch;
  const auto places = static_cast<double>(aligned_states(options.layers, teacher.blocks).size());
  return {.teacher = forward_flops(needed_blocks(teacher, options)),
          .teacher_precision = options.teacher_precision,
          .maps = places * product_flops(side * side, options.channels, patch_values(teacher, options))};
}

Alignment::Alignment(std::shared_ptr<Field> network, TarFlow teacher, const AlignmentOptions& options)
    : network_(register_module(network_scope, std::move(network))),
      teacher_(std::move(teacher)),
      options_(options),
      places_(aligned_states(options.layers, teacher_->options().blocks)) {
  torch::nn::Module& list = add_scope(*this, "maps");
  const std::int64_t values = patch_values(teacher_->options(), options);
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    maps_.push_back(list.register_module(std::to_string(i), torch::nn::Linear(options.channels, values)));
    for (at::Tensor& parameter : maps_.back()->parameters()) parameter.zero_();
  }
}

Alignment::Measured Alignment::measure(const std::function<at::Tensor(Field& network)>& objective,
                                       const at::Tensor& noised, const at::Tensor& labels) {
  KeptLayers network(*network_);
  at::Tensor asked = objective(network);
  return {std::move(asked), distance(network.layers, teacher_states(noised, labels))};
}

NamedTensors Alignment::network_of(const NamedTensors& trained) {
  const std::string prefix = std::string(network_scope) + ".";
  NamedTensors own;
  for (const auto& [name, tensor] : trained)
    if (name.starts_with(prefix)) own[name.substr(prefix.size())] = tensor;
  return own;
}

std::vector<at::Tensor> Alignment::teacher_states(const at::Tensor& noised, const at::Tensor& labels) {
  const at::NoGradGuard no_grad;
  const c10::impl::ExcludeDispatchKeyGuard not_the_students(c10::autocast_dispatch_keyset);
  const Autocast autocast(options_.teacher_precision, noised.device());
  return teacher_->states(noised, labels, places_.front().block);
}

at::Tensor Alignment::distance(const std::vector<at::Tensor>& layers, const std::vector<at::Tensor>& states) {
  at::Tensor sum;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const at::Tensor made = maps_[i](layers[static_cast<std::size_t>(places_[i].layer - 1)]).to(at::kFloat);
    const at::Tensor& state = states[static_cast<std::size_t>(places_[i].block - 1)];
    const at::Tensor wanted = patchify(state.to(at::kFloat), options_.patch);
    const at::Tensor rows = at::mse_loss(made, wanted, at::Reduction::None).flatten(1).mean(1);
    sum = sum.defined() ? sum + rows : rows;
  }
  return sum / static_cast<double>(places_.size());
}

}  // namespace couplet
