// What libcouplet_cuda.so offers. The program does not link CUDA: it loads that library at run time, where there is a
// GPU.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// NCCL on one device, among ranks that joined with the same id, for contiguous tensors on that device. Work goes to a
/// stream of its own, behind what the device's current stream holds. The current stream waits for it at once or, after
/// a `start_...`, when its caller does. The host waits only where NCCL first connects ranks.
class CudaCollectives {
public:
  virtual ~CudaCollectives() = default;
  virtual void all_reduce(at::Tensor& tensor) = 0;
  virtual void broadcast(at::Tensor& tensor, int root) = 0;
  virtual void all_gather(const at::Tensor& tensor, at::Tensor& gathered) = 0;
  /// Where `gathered` is defined, on rank 0, it is given what all_gather gives.
  virtual void gather_at_root(const at::Tensor& tensor, at::Tensor& gathered) = 0;
  virtual std::unique_ptr<PendingCollective> start_all_reduce(const at::Tensor& tensor) = 0;
  virtual std::unique_ptr<PendingCollective> start_reduce_scatter(const at::Tensor& tensor) = 0;
  virtual void all_gather_parts(at::Tensor& tensor) = 0;
  /// Returns a function that says, on any thread, whether the operation queued last has ended. Operations end in the
  /// order in which they were queued.
  virtual std::function<bool()> last_done() const = 0;
};

class CudaLibrary {
public:
  virtual ~CudaLibrary() = default;
  /// The number of GPUs that this process can use. None, or a broken driver, is an Error with CUDA's reason.
  virtual int device_count() const = 0;
  /// Where a GPU of this process sits on its host ("0000:65:00.0"): processes that see one GPU each all call it device
  /// 0.
  virtual std::string place_of(int device) const = 0;
  /// Makes an NCCL id, which rank 0 hands to the others.
  virtual std::vector<char> new_id() const = 0;
  /// Makes this process a rank. Collective over `size` ranks.
  virtual std::unique_ptr<CudaCollectives> join(const std::vector<char>& id, int rank, int size, int device) const = 0;
};

/// The one symbol that the library exports. Its number grows when the classes above change, so that an old library is
/// not mistaken for a new one.
extern "C" CudaLibrary* couplet_cuda_library_4();

/// The library and this process's GPUs. They are looked for once, before any tensor is on a GPU: loading the library
/// also makes LibTorch's CUDA back end known.
struct Cuda {
  CudaLibrary* library = nullptr;  ///< null if CUDA cannot be used
  int devices = 0;
  bool driver = false;  ///< an NVIDIA driver is installed
  std::string missing;  ///< what was looked for and not found
};
const Cuda& find_cuda();

}  // namespace couplet
