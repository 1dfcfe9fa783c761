// What of a slow network is hidden behind the backward pass, in seconds that are counted and do not pass: reductions of
// the real communicator that take the time of a given network, against the model of docs/scaling.md.
#include "pipeline/optimizer/gradient_reduction.h"
#include "stages/cost/scaling.h"
#include "tests/pipeline/delayed_communicator.h"
#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t layers = 4, parameters_a_layer = 64;
constexpr double layer_seconds = 1;  // of a layer's backward pass

class CountedClock final : public DelayClock {
public:
  double now() const override { return seconds_; }
  void sleep_until(double seconds) override { seconds_ = std::max(seconds_, seconds); }
  void pass(double seconds) { seconds_ += seconds; }

private:
  double seconds_ = 0;
};

/// What layers see in their backward passes.
struct Observer {
  CountedClock clock;
  const DelayedCommunicator* network = nullptr;
  std::vector<std::int64_t> started;  ///< reductions, when each layer's backward pass began
};
Observer* observer = nullptr;

/// Adds a parameter to what a layer is given.
struct ObservedLayer : torch::autograd::Function<ObservedLayer> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& given, const at::Tensor& parameter) {
    return given + parameter;
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext*,
                                               const torch::autograd::tensor_list& gradients) {
    observer->started.push_back(observer->network->started());
    observer->clock.pass(layer_seconds);
    return {gradients[0], gradients[0]};
  }
};

struct ObservedModel : torch::nn::Module {
  std::vector<at::Tensor> parameters_in_order;
  ObservedModel() {
    for (std::int64_t i = 0; i < layers; ++i)
      parameters_in_order.push_back(register_parameter(fmt::format("layer{}", i), at::zeros({parameters_a_layer})));
  }
  at::Tensor loss() const {
    at::Tensor x = at::zeros({parameters_a_layer});
    for (const at::Tensor& parameter : parameters_in_order) x = ObservedLayer::apply(x, parameter);
    return x.sum();
  }
};

/// A step over a network on which the reduction of a layer takes so long.
class Step {
public:
  Step(double reduction_seconds, bool overlap) {
    const double bytes = 4 * static_cast<double>(parameters_a_layer);
    const double latency = reduction_seconds / 4, bandwidth = bytes / (reduction_seconds - latency);
    machine.node_bandwidth = bandwidth;
    machine.latency = latency / 2;  // two hops
    DelayedCommunicator network(ranks(), {latency, bandwidth}, seen.clock);
    seen.network = &network;
    observer = &seen;
    GradientReduction reduction(parameters, {.share = {}, .overlap = overlap}, network);
    const at::Tensor loss = model.loss();
    reduction.begin();
    reduction.follow_backward();
    loss.backward();
    started_in_backward = network.started();
    const double end = seen.clock.now();
    reduction.finish();
    started = network.started();
    behind = seen.clock.now() - end;
    observer = nullptr;
  }

  ObservedModel model;
  FlatParameters parameters{model, {4 * parameters_a_layer, 1}};
  Machine machine;
  Observer seen;
  std::int64_t started_in_backward = 0, started = 0;
  double behind = 0;  ///< seconds from the end of the backward pass until all gradients are summed
};

TEST(GradientOverlap, StartsEarlyBucketsBeforeTheBackwardPassEnds) {
  const Step step(0.5, /*overlap=*/true);
  EXPECT_EQ(step.seen.started, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(step.started_in_backward, layers);
  EXPECT_EQ(step.started, layers);
  for (const Bucket& bucket : step.parameters.buckets())
    EXPECT_TRUE(bucket.gradients.eq(static_cast<double>(ranks().size())).all().item<bool>());
}

TEST(GradientOverlap, WithoutItStartsNoneBefore) {
  const Step step(0.5, /*overlap=*/false);
  EXPECT_EQ(step.seen.started, std::vector<std::int64_t>(layers, 0));
  EXPECT_EQ(step.started_in_backward, 0);
  EXPECT_EQ(step.started, layers);
}

TEST(GradientOverlap, HidesWhatTheModelSays) {
  ASSERT_EQ(ranks().size(), 2);
  // By hand: a bucket a second from second 1 to 4. Of 0.5 s or 1 s each, the last one is behind; of 2 s, they end at 9.
  const double exposed[] = {0.5, 1, 5}, seconds[] = {0.5, 1, 2};
  for (int i = 0; i < 3; ++i) {
    for (const bool overlap : {true, false}) {
      const Step step(seconds[i], overlap);
      std::vector<double> bytes;
      for (const Bucket& bucket : step.parameters.buckets())
        bytes.push_back(static_cast<double>(bucket.gradients.nbytes()));
      ASSERT_EQ(bytes, std::vector<double>(layers, 4.0 * parameters_a_layer));
      EXPECT_NEAR(step.behind, overlap ? exposed[i] : layers * seconds[i], 1e-9) << seconds[i];
      EXPECT_NEAR(step.behind, exposed_seconds(bytes, layers * layer_seconds, 2, step.machine, overlap), 1e-9)
          << seconds[i] << " s a reduction, overlap " << overlap;
    }
  }
}

}  // namespace
}  // namespace couplet
