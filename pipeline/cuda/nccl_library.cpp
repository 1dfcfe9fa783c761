#include "pipeline/cuda_library.h"
#include "storage/error.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <exception>
#include <utility>

namespace couplet {
namespace {

void check_nccl(ncclResult_t result, const char* operation, int rank, ncclComm_t communicator = nullptr) {
  if (result == ncclSuccess) return;
  const char* const more = ncclGetLastError(communicator);
  fail("{} failed on rank {}: NCCL: {}{}{}", operation, rank, ncclGetErrorString(result), more && *more ? "; " : "",
       more ? more : "");
}

ncclDataType_t nccl_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kLong:
      return ncclInt64;
    case at::kBFloat16:
      return ncclBfloat16;
    default:
      fail("NCCL has no type for sums of {}", c10::toString(type));
  }
}

/// Owns one NCCL communicator.
class NcclHandle {
public:
  NcclHandle(const ncclUniqueId& id, int rank, int size) {
    check_nccl(ncclCommInitRank(&handle_, size, id, rank), "ncclCommInitRank", rank);
  }
  // Waiting for the others would hang when this rank is the one that failed.
  ~NcclHandle() {
    if (std::uncaught_exceptions() > 0) {
      ncclCommAbort(handle_);
    } else {
      ncclCommDestroy(handle_);
    }
  }
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;
  ncclComm_t get() const { return handle_; }

private:
  ncclComm_t handle_ = nullptr;
};

/// Makes the device current before the communicator is made on it.
struct CurrentDevice {
  explicit CurrentDevice(int device) { c10::cuda::set_device(static_cast<c10::DeviceIndex>(device)); }
};

class NcclCollectives final : public CudaCollectives {
public:
  NcclCollectives(const ncclUniqueId& id, int rank, int size, int device)
      : rank_(rank), device_(device), current_(device), handle_(id, rank, size) {}

  void all_reduce(at::Tensor& tensor) override {
    run("all_reduce", {&tensor}, [&](cudaStream_t stream) {
      void* const values = tensor.data_ptr();
      return ncclAllReduce(values, values, static_cast<std::size_t>(tensor.numel()), nccl_type(tensor.scalar_type()),
                           ncclSum, handle_.get(), stream);
    });
  }
  void broadcast(at::Tensor& tensor, int root) override {
    run("broadcast", {&tensor}, [&](cudaStream_t stream) {
      void* const values = tensor.data_ptr();
      return ncclBroadcast(values, values, tensor.nbytes(), ncclUint8, root, handle_.get(), stream);
    });
  }
  void all_gather(const at::Tensor& tensor, at::Tensor& gathered) override {
    run("all_gather", {&tensor, &gathered}, [&](cudaStream_t stream) {
      return ncclAllGather(tensor.const_data_ptr(), gathered.data_ptr(), tensor.nbytes(), ncclUint8, handle_.get(),
                           stream);
    });
  }

private:
  /// Queues one operation on the current stream. An error of an earlier one, seen by NCCL's own threads, is reported
  /// here too.
  template <class Queue>
  void run(const char* operation, std::initializer_list<const at::Tensor*> tensors, Queue queue) {
    const c10::cuda::CUDAStream stream = c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device_));
    for (const at::Tensor* tensor : tensors) {
      if (tensor->device().index() != device_) {
        fail("{} on rank {}: the tensor is on {}, the communicator on GPU {}", operation, rank_, tensor->device().str(),
             device_);
      }
      // The tensor may have been made on another stream: its memory must not be reused before this one is done with it.
      c10::cuda::CUDACachingAllocator::recordStream(tensor->storage().data_ptr(), stream);
    }
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    ncclResult_t earlier = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(handle_.get(), &earlier), operation, rank_, handle_.get());
    check_nccl(earlier, operation, rank_, handle_.get());
    check_nccl(queue(stream.stream()), operation, rank_, handle_.get());
  }

  int rank_, device_;
  CurrentDevice current_;
  NcclHandle handle_;
};

class Library final : public CudaLibrary {
public:
  int device_count() const override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) fail("no usable GPU: {}", cudaGetErrorString(error));
    if (count == 0) fail("no usable GPU: CUDA sees none (CUDA_VISIBLE_DEVICES?)");
    return count;
  }
  std::vector<char> new_id() const override {
    ncclUniqueId id;
    check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId", 0);
    return {id.internal, id.internal + sizeof id.internal};
  }
  std::unique_ptr<CudaCollectives> join(const std::vector<char>& id, int rank, int size, int device) const override {
    ncclUniqueId unique{};
    if (id.size() != sizeof unique.internal) {
      fail("the NCCL id has {} bytes on rank {}, {} expected: the ranks use different NCCL versions", id.size(), rank,
           sizeof unique.internal);
    }
    std::memcpy(unique.internal, id.data(), id.size());
    return std::make_unique<NcclCollectives>(unique, rank, size, device);
  }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) CudaLibrary* couplet_cuda_library_1() {
  static Library library;
  return &library;
}

}  // namespace couplet
