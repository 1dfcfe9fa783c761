// A network between the ranks of one machine: reductions take the time that they would take on it. For benchmarks and
// tests only; nothing of the program includes it.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

namespace couplet {

/// Latency and bandwidth of every reduction that is started. Reductions follow each other, as on one link.
struct DelayedNetwork {
  double latency = 0;    ///< seconds of a reduction, whatever its size
  double bandwidth = 0;  ///< bytes of the tensor a second
  int ranks = 0;         ///< that callers are told of; 0: those that there are

  double seconds(double bytes) const { return latency + bytes / bandwidth; }
};

/// By which its time passes: the time of day, or what a test counts.
class DelayClock {
public:
  virtual ~DelayClock() = default;
  virtual double now() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  virtual void sleep_until(double seconds) {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds - now()));
  }
};

class DelayedCommunicator final : public Communicator {
public:
  DelayedCommunicator(Communicator& ranks, const DelayedNetwork& network, DelayClock& clock)
      : ranks_(ranks), network_(network), clock_(clock) {}
  /// Reductions that were started.
  std::int64_t started() const { return started_; }
  int rank() const override { return ranks_.rank(); }
  int size() const override { return network_.ranks > 0 ? network_.ranks : ranks_.size(); }
  int local_rank() const override { return ranks_.local_rank(); }
  void all_reduce(at::Tensor& tensor) override { start_all_reduce(tensor)->wait(); }
  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override {
    const double bytes = static_cast<double>(tensor.nbytes());
    return delayed(ranks_.start_all_reduce(std::move(tensor)), bytes);
  }
  std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) override {
    const double bytes = static_cast<double>(tensor.nbytes()) / 2;
    return delayed(ranks_.start_reduce_scatter(std::move(tensor)), bytes);
  }
  void all_gather_parts(at::Tensor& tensor) override { ranks_.all_gather_parts(tensor); }
  void broadcast(at::Tensor& tensor, int root) override { ranks_.broadcast(tensor, root); }
  at::Tensor all_gather(const at::Tensor& tensor) override { return ranks_.all_gather(tensor); }
  at::Tensor gather_at_root(const at::Tensor& tensor) override { return ranks_.gather_at_root(tensor); }
  void barrier() override { ranks_.barrier(); }

private:
  /// Done when the messages have come and the link has had the time for them.
  class Delayed final : public PendingCollective {
  public:
    Delayed(std::unique_ptr<PendingCollective> inner, double due, DelayClock& clock)
        : inner_(std::move(inner)), due_(due), clock_(clock) {}
    bool test() override { return inner_->test() && clock_.now() >= due_; }
    void wait() override {
      inner_->wait();
      clock_.sleep_until(due_);
    }

  private:
    std::unique_ptr<PendingCollective> inner_;
    double due_;
    DelayClock& clock_;
  };

  std::unique_ptr<PendingCollective> delayed(std::unique_ptr<PendingCollective> inner, double bytes) {
    ++started_;
    free_at_ = std::max(free_at_, clock_.now()) + network_.seconds(bytes);
    return std::make_unique<Delayed>(std::move(inner), free_at_, clock_);
  }

  Communicator& ranks_;
  DelayedNetwork network_;
  DelayClock& clock_;
  double free_at_ = 0;
  std::int64_t started_ = 0;
};

}  // namespace couplet
