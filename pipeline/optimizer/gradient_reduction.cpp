#include "pipeline/optimizer/gradient_reduction.h"

#include "pipeline/optimizer/gradient_tree.h"
#include "storage/clock.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <utility>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

/// Adds the time it lives to a sum.
class Stopwatch {
public:
  explicit Stopwatch(double& sum) : sum_(sum) {}
  ~Stopwatch() { sum_ += seconds_since(start_); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

private:
  double& sum_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace

/// Called by the backward pass when a parameter's gradient of that pass has been added.
class GradientReduction::Hook final : public torch::autograd::PostAccumulateGradHook {
public:
  Hook(GradientReduction& reduction, std::size_t bucket) : reduction_(reduction), bucket_(bucket) {}
  void operator()(const at::Tensor&) override { reduction_.accumulated(bucket_); }

private:
  GradientReduction& reduction_;
  std::size_t bucket_;
};

GradientReduction::GradientReduction(const FlatParameters& parameters, const ReductionOptions& options,
                                     Communicator& communicator)
    : parameters_(parameters), options_(options), communicator_(communicator) {
  if (communicator_.size() == 1 || !options_.overlap || options_.in_a_tree) return;
  for (std::size_t i = 0; i < parameters_.buckets().size(); ++i) {
    for (const auto& place : parameters_.buckets()[i].places)
      torch::autograd::impl::set_post_acc_grad_hooks(place.parameter, std::make_unique<Hook>(*this, i));
  }
}

GradientReduction::~GradientReduction() {
  for (const auto& bucket : parameters_.buckets()) {
    for (const auto& place : bucket.places) torch::autograd::impl::set_post_acc_grad_hooks(place.parameter, nullptr);
  }
}

void GradientReduction::begin() {
  following_ = false;
  missing_.clear();
  for (const auto& bucket : parameters_.buckets()) missing_.push_back(bucket.places.size());
  next_ = 0;
  times_ = {};
}

void GradientReduction::follow_backward() {
  following_ = true;
}

void GradientReduction::accumulated(std::size_t bucket) {
  if (!following_) return;
  --missing_[bucket];
  const Stopwatch stall(times_.stall);
  while (next_ < missing_.size() && missing_[next_] == 0) start_next();
  take_finished(/*wait=*/false);
}

void GradientReduction::finish() {
  following_ = false;
  if (communicator_.size() == 1) return;
  const Stopwatch stall(times_.stall);
  while (next_ < parameters_.buckets().size()) start_next();
  take_finished(/*wait=*/true);
}

void GradientReduction::start_next() {
  const at::Tensor& gradients = parameters_.buckets()[next_++].gradients;
  if (pending_.empty()) busy_since_ = Clock::now();
  if (options_.in_a_tree) {
    sum_in_tree(gradients, options_.share, communicator_);
    if (pending_.empty()) times_.under_way += seconds_since(busy_since_);
  } else {
    pending_.push_back(options_.share.is_whole() ? communicator_.start_all_reduce(gradients)
                                                 : communicator_.start_reduce_scatter(gradients));
  }
}

void GradientReduction::take_finished(bool wait) {
  if (pending_.empty()) return;
  while (!pending_.empty() && (wait || pending_.front()->test())) {
    pending_.front()->wait();
    pending_.pop_front();
  }
  if (pending_.empty()) times_.under_way += seconds_since(busy_since_);
}

}  // namespace couplet
