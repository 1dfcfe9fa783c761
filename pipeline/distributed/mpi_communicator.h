// The communicator over MPI. CUDA tensors pass through pinned host memory.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/liveness/activity.h"

#include <string>

namespace couplet {

class MpiCommunicator final : public Communicator {
public:
  MpiCommunicator();
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }

  void all_reduce(at::Tensor& tensor) override;
  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) override;
  void all_gather_parts(at::Tensor& tensor) override;
  void broadcast(at::Tensor& tensor, int root) override;
  at::Tensor all_gather(const at::Tensor& tensor) override;
  at::Tensor gather_at_root(const at::Tensor& tensor) override;
  void barrier() override;

  /// Agrees on a call that training repeats in each step (reductions, gathering parts) before it is made, if it is one
  /// of the first `checked_repeats`: in a program that repeats its steps the ranks differ there or never. Later ones
  /// are only remembered, without a message, and checked by the next `agree`.
  void agree_on_repeated(const CollectiveCall& call);
  static constexpr std::int64_t checked_repeats = 1000;
  /// Throws on every rank if this call, or one remembered before it, is not the same on all. It takes one message of 16
  /// bytes and is a barrier too.
  void agree(const CollectiveCall& call);

private:
  void mix(std::int64_t value);
  void mix(const CollectiveCall& call);
  /// Replaces row r of a tensor [size, ...] in host memory by that of rank r, for all r.
  void gather_rows(const at::Tensor& host, const char* operation);
  /// Sends a tensor in host memory to rank 0.
  void send_row(const at::Tensor& host, const char* operation);
  /// Replaces row r of a tensor [size, ...] in host memory by what rank r sends, for all r but 0.
  void receive_rows(const at::Tensor& host, const char* operation);
  [[noreturn]] void report_difference(const std::string& call);

  int rank_ = 0, size_ = 1, local_rank_ = 0;
  std::uint64_t history_ = 0;   ///< a hash of all calls made, which is equal on all ranks
  std::int64_t repeats_ = 0;    ///< how many were made in all
  std::int64_t unchecked_ = 0;  ///< how many were made since the last agreement
};

}  // namespace couplet
