// overlap_model: what pipeline.overlap hides of a network, against what the model of docs/scaling.md says. The network
// is a delay (DelayedCommunicator), and so is the backward pass: each layer of a model sleeps in it, so that figures
// depend little on what else the machine does. Reductions of a step take half, then as long, then twice as long as its
// backward pass. A line each, with and without overlap: the seconds of a step behind its backward pass, measured, by
// the model, and their ratio.
#include "bench/comparison.h"
#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/optimizer/gradient_reduction.h"
#include "stages/cost/scaling.h"
#include "tests/pipeline/delayed_communicator.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>

#include <chrono>
#include <cstdio>
#include <thread>

namespace couplet {
namespace {

constexpr std::int64_t layers = 8, parameters_a_layer = 1 << 18;
constexpr double layer_seconds = 0.05, latency = 2e-3;
constexpr int ranks = 2;

/// Adds a parameter to what a layer is given, and takes its time to say the gradients.
struct SleepingLayer : torch::autograd::Function<SleepingLayer> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& given, const at::Tensor& parameter) {
    return given + parameter;
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext*,
                                               const torch::autograd::tensor_list& gradients) {
    std::this_thread::sleep_for(std::chrono::duration<double>(layer_seconds));
    return {gradients[0], gradients[0]};
  }
};

struct SleepingModel : torch::nn::Module {
  std::vector<at::Tensor> parameters_in_order;
  SleepingModel() {
    for (std::int64_t i = 0; i < layers; ++i)
      parameters_in_order.push_back(register_parameter(fmt::format("layer{}", i), at::zeros({parameters_a_layer, 1})));
  }
  at::Tensor loss() const {
    at::Tensor x = at::zeros({parameters_a_layer, 1});
    for (const at::Tensor& parameter : parameters_in_order) x = SleepingLayer::apply(x, parameter);
    return x.sum();
  }
};

/// Seconds from the end of the backward pass until all gradients are summed.
double seconds_behind(const SleepingModel& model, GradientReduction& reduction) {
  const at::Tensor loss = model.loss();
  reduction.begin();
  reduction.follow_backward();
  loss.backward();
  return seconds_of([&] { reduction.finish(); });
}

void run() {
  const std::int64_t bucket = parameters_a_layer * 4;
  const SleepingModel model;
  const FlatParameters parameters(model, {bucket, 1});
  const std::vector<double> bytes(parameters.buckets().size(), static_cast<double>(bucket));
  const double backward = layer_seconds * static_cast<double>(layers);
  const auto single = make_single_communicator();
  DelayClock clock;
  for (const double share : {0.5, 1.0, 2.0}) {
    const double bandwidth = static_cast<double>(bucket) / (share * layer_seconds - latency);
    Machine machine;
    machine.node_bandwidth = bandwidth;
    machine.latency = latency / 2;
    for (const bool overlap : {false, true}) {
      DelayedCommunicator between(*single, {latency, bandwidth, ranks}, clock);
      GradientReduction reduction(parameters, {.share = {}, .overlap = overlap}, between);
      std::vector<double> behind;
      for (int round = 0; round < bench_rounds(); ++round) behind.push_back(seconds_behind(model, reduction));
      const double said = exposed_seconds(bytes, backward, ranks, machine, overlap);
      fmt::print(
          "bench overlap_model network={:.1f} overlap={} backward={:.3f} behind={:.3f} model={:.3f} ratio={:.2f}\n",
          share, overlap, backward, median(behind), said, median(behind) / said);
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
