// Collectives between the ranks of a stage. Tensors in, tensors out: never a pointer and a count.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// A collective that goes on while its caller computes. The tensor must stay untouched until `wait` returns. Dropping
/// it before waits, except while an exception unwinds the stack: the other ranks may never come then, and the buffers
/// are left to the transfer.
class PendingCollective {
public:
  virtual ~PendingCollective() = default;
  /// Lets it progress (MPI moves data only inside calls); true when it is done.
  virtual bool test() = 0;
  /// Returns when the tensor holds its result (CUDA: the current stream waits for it, the host goes on).
  virtual void wait() = 0;
};

/// Every call is collective: all ranks make it, in the same order, with tensors of equal shape and type. A call that
/// fails (MPI or NCCL error, a shape that differs) throws Error naming the operation and the rank. "Parts": a
/// contiguous tensor's elements in order, cut into `size` parts of equal length; part r is rank r's.
class Communicator {
public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Rank among those on this host: picks the device.
  virtual int local_rank() const = 0;

  /// In place: the sum over ranks. Contiguous float32, float64, int64 (bfloat16 where NCCL is used). That all ranks
  /// mean the same shape and type is checked beforehand for the first thousand calls, and with the next other call for
  /// later ones: no cost in a long training run.
  virtual void all_reduce(at::Tensor& tensor) = 0;
  /// The same, going on while the caller computes: several may be under way, waited for in any order.
  virtual std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) = 0;
  /// The same for one part: afterwards part `rank` holds its sum over ranks, the others are undefined.
  virtual std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) = 0;
  /// In place: every rank's own part reaches all. Any element type.
  virtual void all_gather_parts(at::Tensor& tensor) = 0;
  /// In place: rank `root`'s values. Any element type.
  virtual void broadcast(at::Tensor& tensor, int root) = 0;
  /// [size, shape...]: every rank's tensor, in rank order. Any element type.
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;
  virtual void barrier() = 0;

  bool is_root() const { return rank() == 0; }
  /// The largest of one number over ranks; used for agreeing on stop requests and failures.
  std::int64_t maximum(std::int64_t value);
  /// Rank `root`'s text, on every rank.
  std::string broadcast_text(const std::string& text, int root);
  /// Every rank's text, in rank order.
  std::vector<std::string> gather_text(const std::string& text);
};

/// One process, no MPI.
std::unique_ptr<Communicator> make_single_communicator();
/// Initialises MPI on first use (MPI_THREAD_SERIALIZED) and finalises it when the program ends. CPU tensors go through
/// MPI; CUDA tensors through pinned host memory, so several ranks may share a GPU.
std::unique_ptr<Communicator> make_mpi_communicator();
/// CUDA tensors go through NCCL (id broadcast over MPI), CPU tensors through MPI. Loads libcouplet_cuda.so; an error
/// says what is missing.
std::unique_ptr<Communicator> make_nccl_communicator();

// What every back end asks of its arguments, checked on each rank alone, before any message:

/// Refuses a tensor that cannot be summed in place: undefined, not contiguous, another element type.
void check_reducible(const at::Tensor& tensor, bool bfloat16, const char* operation, int rank);
/// Refuses a tensor that has no `size` parts of equal length, or whose parts are not contiguous.
void check_parts(const at::Tensor& tensor, int size, const char* operation, int rank);
/// Refuses an undefined or sparse tensor.
void check_dense(const at::Tensor& tensor, const char* operation, int rank);
void check_root(int root, int size, const char* operation, int rank);

/// Ends this process with `status` and, under MPI, all others within a bounded time: for a rank that cannot go on while
/// the others wait for it. Flushes the standard streams and prints nothing; destructors do not run.
[[noreturn]] void abort_all(int status);

}  // namespace couplet
