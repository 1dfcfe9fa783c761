// Collectives between the ranks of a stage, which take and give tensors, never a pointer and a count.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// A collective that goes on while its caller computes. The tensor must stay untouched until `wait` returns. The
/// destructor waits, except while an exception unwinds the stack: the other ranks may never come then, and the buffers
/// are left to the transfer.
class PendingCollective {
public:
  virtual ~PendingCollective() = default;
  /// Lets it progress (MPI moves data only inside calls). Returns true when it is done.
  virtual bool test() = 0;
  /// Returns when the tensor holds its result. With CUDA, the current stream waits for it and the host goes on.
  virtual void wait() = 0;
};

/// Every call is collective: all ranks make it, in the same order, with tensors of equal shape and type. A call that
/// fails (an error of MPI or NCCL, a shape that differs) throws an Error that names the operation and the rank. The
/// parts of a contiguous tensor are its elements in order, cut into `size` parts of equal length; part r belongs to
/// rank r.
class Communicator {
public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// The rank among those on this host, which picks the device.
  virtual int local_rank() const = 0;

  /// Replaces the tensor by its sum over the ranks. The tensor is contiguous, of float32, float64 or int64 (or
  /// bfloat16, where NCCL is used). Whether all ranks mean the same shape and type is checked before each of the first
  /// thousand calls, and together with the next other call for later ones, which then cost no message.
  virtual void all_reduce(at::Tensor& tensor) = 0;
  /// The same, but it goes on while the caller computes. Several may be under way, and may be waited for in any order.
  virtual std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) = 0;
  /// The same for one part: afterwards part `rank` holds its sum over the ranks, and the other parts are undefined.
  virtual std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) = 0;
  /// Replaces part r by that of rank r, for all r. Takes any element type. Calls are checked as sums are.
  virtual void all_gather_parts(at::Tensor& tensor) = 0;
  /// Replaces the tensor by rank `root`'s. Takes any element type.
  virtual void broadcast(at::Tensor& tensor, int root) = 0;
  /// Returns the tensors of all ranks in their order, [size, shape...]. Takes any element type.
  virtual at::Tensor all_gather(const at::Tensor& tensor) = 0;
  /// Returns on rank 0 what `all_gather` returns, and on the others, which need no memory for it, an undefined tensor.
  virtual at::Tensor gather_at_root(const at::Tensor& tensor) = 0;
  virtual void barrier() = 0;

  bool is_root() const { return rank() == 0; }
  /// Returns the largest of the ranks' numbers, on which they agree about stop requests and failures.
  std::int64_t maximum(std::int64_t value);
  /// Returns rank `root`'s text on every rank.
  std::string broadcast_text(const std::string& text, int root);
  /// Returns the texts of all ranks in their order.
  std::vector<std::string> gather_text(const std::string& text);
};

/// A communicator of one process, without MPI.
std::unique_ptr<Communicator> make_single_communicator();
/// A communicator over MPI, which is initialised on first use (MPI_THREAD_SERIALIZED) and finalised when the program
/// ends. CUDA tensors go through pinned host memory, so that several ranks may share a GPU.
std::unique_ptr<Communicator> make_mpi_communicator();
/// A communicator of CUDA tensors over NCCL (whose id is broadcast over MPI) and of CPU tensors over MPI. It loads
/// libcouplet_cuda.so; an error says what is missing.
std::unique_ptr<Communicator> make_nccl_communicator();

// What every back end asks of its arguments. Each rank checks it alone, before any message.

/// Refuses a tensor that cannot be summed in place: undefined, not contiguous, another element type.
void check_reducible(const at::Tensor& tensor, bool bfloat16, const char* operation, int rank);
/// Refuses a tensor that has no `size` parts of equal length, or whose parts are not contiguous.
void check_parts(const at::Tensor& tensor, int size, const char* operation, int rank);
/// Refuses an undefined or sparse tensor.
void check_dense(const at::Tensor& tensor, const char* operation, int rank);
void check_root(int root, int size, const char* operation, int rank);

/// Which of how many ranks a process is.
struct RankIdentity {
  int rank = 0, ranks = 1;
};
/// This process, as MPI knows it from its start to its end; nothing where MPI is not in use.
std::optional<RankIdentity> identity_by_mpi();

/// Tells the other ranks that this one has come to its end, and returns true once all of them have: then each may leave
/// by itself, and MPI's own end waits for nobody. It does not wait, and is called until it returns true or the caller
/// has waited long enough. MPI is in use.
bool all_ranks_ended();

/// Ends this process with `status` and, under MPI, all other ranks within a bounded time. A rank calls it that cannot
/// go on while the others wait for it. It flushes the standard streams and prints nothing; destructors do not run.
[[noreturn]] void abort_all(int status);

}  // namespace couplet
