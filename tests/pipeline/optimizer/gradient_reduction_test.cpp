#include "pipeline/optimizer/gradient_reduction.h"

#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include <string>
#include <vector>

// When the buckets are started, on a communicator that only writes that down.

namespace couplet {
namespace {

using Events = std::vector<std::string>;

class Recorder final : public Communicator {
public:
  Recorder(const FlatParameters& parameters, Events& events) : parameters_(parameters), events_(events) {}
  int rank() const override { return 0; }
  int size() const override { return 2; }
  int local_rank() const override { return 0; }
  void all_reduce(at::Tensor&) override {}
  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override { return started("sum", tensor); }
  std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) override {
    return started("share", tensor);
  }
  void all_gather_parts(at::Tensor&) override {}
  void broadcast(at::Tensor&, int) override {}
  at::Tensor all_gather(const at::Tensor& tensor) override {
    events_.push_back("tree " + bucket_of(tensor));
    return at::stack({tensor, tensor * 3});
  }
  at::Tensor gather_at_root(const at::Tensor&) override { return {}; }
  void barrier() override {}

private:
  struct Pending final : PendingCollective {
    Pending(std::string number, Events& to) : bucket(std::move(number)), events(to) {}
    bool test() override { return false; }
    void wait() override { events.push_back("waited " + bucket); }
    std::string bucket;
    Events& events;
  };
  std::string bucket_of(const at::Tensor& tensor) const {
    for (std::size_t i = 0; i < parameters_.buckets().size(); ++i) {
      if (parameters_.buckets()[i].gradients.is_same(tensor)) return std::to_string(i);
    }
    return "none";
  }
  std::unique_ptr<PendingCollective> started(const std::string& what, const at::Tensor& tensor) {
    events_.push_back(what + " " + bucket_of(tensor));
    return std::make_unique<Pending>(bucket_of(tensor), events_);
  }

  const FlatParameters& parameters_;
  Events& events_;
};

/// "sum 0", "sum 1", ...: of the buckets from `first` to before `last`.
Events each(const std::string& what, int first, int last) {
  Events events;
  for (int bucket = first; bucket < last; ++bucket) events.push_back(what + " " + std::to_string(bucket));
  return events;
}

Events joined(Events one, const Events& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

constexpr char mark[] = "at the first layer";

class Reduction : public testing::Test {
protected:
  /// One backward pass; says when the gradient has come through the second layer to the first.
  void backward(bool through_last_layer = true) {
    at::Tensor hidden = first->forward(at::ones({2, 4}));
    hidden.register_hook([this](const at::Tensor&) { events.emplace_back(mark); });
    at::Tensor y = second->forward(hidden);
    if (through_last_layer) y = third->forward(y);
    y.sum().backward();
  }

  Events events;
  torch::nn::Linear first{4, 4}, second{4, 4}, third{4, 4};
  torch::nn::Sequential model{first, second, third};
  // A bucket a parameter: 0 and 1 of the last layer, 2 and 3 of the second, 4 and 5 of the first.
  FlatParameters parameters{*model, {.bytes = 64, .parts = 2}};
  Recorder communicator{parameters, events};
};

TEST_F(Reduction, StartsBucketsWhileTheBackwardPassRuns) {
  GradientReduction reduction(parameters, {}, communicator);
  for (int step = 0; step < 2; ++step) {
    events.clear();
    reduction.begin();
    backward();  // not the step's last
    EXPECT_EQ(events, Events{mark});
    reduction.follow_backward();
    backward();
    const Events during = joined(joined(joined({mark}, each("sum", 0, 4)), {mark}), each("sum", 4, 6));
    EXPECT_EQ(events, during);
    reduction.finish();
    EXPECT_EQ(events, joined(during, each("waited", 0, 6)));
    EXPECT_GT(reduction.times().under_way, reduction.times().stall);
  }
}

TEST_F(Reduction, WithoutOverlapStartsAfterIt) {
  GradientReduction reduction(parameters, {.share = {0, 2}, .overlap = false}, communicator);
  reduction.begin();
  reduction.follow_backward();
  backward();
  EXPECT_EQ(events, Events{mark});
  reduction.finish();
  EXPECT_EQ(events, joined(joined({mark}, each("share", 0, 6)), each("waited", 0, 6)));
}

TEST_F(Reduction, KeepsTheOrderWhereALayerIsNotReached) {
  GradientReduction reduction(parameters, {}, communicator);
  reduction.begin();
  reduction.follow_backward();
  backward(/*through_last_layer=*/false);
  EXPECT_EQ(events, Events{mark}) << "the first bucket is not complete, so none may start";
  reduction.finish();
  EXPECT_EQ(events, joined(joined({mark}, each("sum", 0, 6)), each("waited", 0, 6)));
}

TEST_F(Reduction, StartsAllBucketsWhereTheComputationFails) {
  GradientReduction reduction(parameters, {}, communicator);
  reduction.begin();
  reduction.follow_backward();
  reduction.finish();
  EXPECT_EQ(events, joined(each("sum", 0, 6), each("waited", 0, 6)));
}

TEST_F(Reduction, InATreeAddsUpItself) {
  GradientReduction reduction(parameters, {.share = {}, .in_a_tree = true}, communicator);
  reduction.begin();
  reduction.follow_backward();
  backward();
  EXPECT_EQ(events, Events{mark});
  const at::Tensor mine = parameters.buckets()[0].gradients.clone();
  reduction.finish();
  EXPECT_EQ(events, joined({mark}, each("tree", 0, 6)));
  EXPECT_TRUE(parameters.buckets()[0].gradients.equal(mine * 4));
}

TEST_F(Reduction, TakesItsHooksAway) {
  {
    GradientReduction reduction(parameters, {}, communicator);
    reduction.begin();
    reduction.follow_backward();
  }
  backward();
  EXPECT_EQ(events, Events{mark});
}

}  // namespace
}  // namespace couplet
