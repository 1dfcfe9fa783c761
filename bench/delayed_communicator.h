// A network between the ranks of one machine: reductions take the time that they would take on it. For benchmarks and
// tests only; nothing of the program includes it.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <algorithm>
#include <chrono>
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

class DelayedCommunicator final : public Communicator {
public:
  DelayedCommunicator(Communicator& ranks, const DelayedNetwork& network) : ranks_(ranks), network_(network) {}
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
  using Clock = std::chrono::steady_clock;

  /// Done when the messages have come and the link has had the time for them.
  class Delayed final : public PendingCollective {
  public:
    Delayed(std::unique_ptr<PendingCollective> inner, Clock::time_point due) : inner_(std::move(inner)), due_(due) {}
    bool test() override { return inner_->test() && Clock::now() >= due_; }
    void wait() override {
      inner_->wait();
      std::this_thread::sleep_until(due_);
    }

  private:
    std::unique_ptr<PendingCollective> inner_;
    Clock::time_point due_;
  };

  std::unique_ptr<PendingCollective> delayed(std::unique_ptr<PendingCollective> inner, double bytes) {
    const auto lasts =
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(network_.seconds(bytes)));
    free_at_ = std::max(free_at_, Clock::now()) + lasts;
    return std::make_unique<Delayed>(std::move(inner), free_at_);
  }

  Communicator& ranks_;
  DelayedNetwork network_;
  Clock::time_point free_at_;
};

}  // namespace couplet
