#include "pipeline/distributed/cuda_library.h"
#include "storage/error.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <exception>
#include <memory>
#include <utility>

namespace couplet {
namespace {

void check_nccl(ncclResult_t result, const char* operation, int rank, ncclComm_t communicator = nullptr) {
  if (result == ncclSuccess) return;
  const char* const more = ncclGetLastError(communicator);
  fail("{} failed on rank {}: NCCL: {}{}{}", operation, rank, ncclGetErrorString(result), more && *more ? "; " : "",
       more ? more : "");
}

void check_cuda(cudaError_t error, const char* operation, int rank) {
  if (error != cudaSuccess) fail("{} failed on rank {}: CUDA: {}", operation, rank, cudaGetErrorString(error));
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

/// A point in a stream's work.
class Event {
public:
  Event(const char* operation, int rank, int device)
      : operation_(operation), rank_(rank), device_(static_cast<c10::DeviceIndex>(device)) {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), operation, rank);
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), operation_, rank_); }
  /// What is queued on the stream from now on waits for it.
  void hold_up(cudaStream_t stream) const { check_cuda(cudaStreamWaitEvent(stream, event_, 0), operation_, rank_); }
  /// From any thread: one that has no device yet must not start a context on another GPU. After a device's error all
  /// has come to its end: the next call that uses the device on the rank's own thread says what happened.
  bool reached() const noexcept {
    try {
      const c10::cuda::CUDAGuard guard(device_);
      return cudaEventQuery(event_) != cudaErrorNotReady;
    } catch (const std::exception&) {
      return true;
    }
  }

private:
  cudaEvent_t event_ = nullptr;
  const char* operation_;
  int rank_;
  c10::DeviceIndex device_;
};

class NcclTransfer final : public PendingCollective {
public:
  NcclTransfer(std::shared_ptr<const Event> end, int device) : end_(std::move(end)), device_(device) {}
  ~NcclTransfer() override {
    if (waited_ || std::uncaught_exceptions() > 0) return;
    try {
      wait();
    } catch (const std::exception&) {
      // The stream's failure reports itself in the calls that follow.
    }
  }
  NcclTransfer(const NcclTransfer&) = delete;
  NcclTransfer& operator=(const NcclTransfer&) = delete;
  bool test() override { return end_->reached(); }
  void wait() override {
    if (waited_) return;
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    end_->hold_up(c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device_)).stream());
    waited_ = true;
  }

private:
  std::shared_ptr<const Event> end_;
  int device_;
  bool waited_ = false;
};

class NcclCollectives final : public CudaCollectives {
public:
  NcclCollectives(const ncclUniqueId& id, int rank, int size, int device)
      : rank_(rank),
        size_(size),
        device_(device),
        current_(device),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, static_cast<c10::DeviceIndex>(device))),
        handle_(id, rank, size) {}

  void all_reduce(at::Tensor& tensor) override { sum("all_reduce", tensor)->wait(); }
  std::unique_ptr<PendingCollective> start_all_reduce(const at::Tensor& tensor) override {
    return sum("start_all_reduce", tensor);
  }
  std::unique_ptr<PendingCollective> start_reduce_scatter(const at::Tensor& tensor) override {
    return start("start_reduce_scatter", {&tensor}, [&] {
      const auto count = static_cast<std::size_t>(tensor.numel() / size_);
      return ncclReduceScatter(tensor.data_ptr(), own_part(tensor), count, nccl_type(tensor.scalar_type()), ncclSum,
                               handle_.get(), stream_.stream());
    });
  }
  void broadcast(at::Tensor& tensor, int root) override {
    start("broadcast", {&tensor}, [&] {
      void* const values = tensor.data_ptr();
      return ncclBroadcast(values, values, tensor.nbytes(), ncclUint8, root, handle_.get(), stream_.stream());
    })->wait();
  }
  void all_gather(const at::Tensor& tensor, at::Tensor& gathered) override {
    start("all_gather", {&tensor, &gathered}, [&] {
      return ncclAllGather(tensor.const_data_ptr(), gathered.data_ptr(), tensor.nbytes(), ncclUint8, handle_.get(),
                           stream_.stream());
    })->wait();
  }
  void gather_at_root(const at::Tensor& tensor, at::Tensor& gathered) override {
    if (gathered.defined()) {
      gathered.select(0, 0).copy_(tensor);
      start("gather_at_root", {&gathered}, [&] { return receive_rows(gathered); })->wait();
    } else {
      start("gather_at_root", {&tensor}, [&] {
        return ncclSend(tensor.const_data_ptr(), tensor.nbytes(), ncclUint8, 0, handle_.get(), stream_.stream());
      })->wait();
    }
  }
  void all_gather_parts(at::Tensor& tensor) override {
    start("all_gather_parts", {&tensor}, [&] {
      const std::size_t bytes = tensor.nbytes() / static_cast<std::size_t>(size_);
      return ncclAllGather(own_part(tensor), tensor.data_ptr(), bytes, ncclUint8, handle_.get(), stream_.stream());
    })->wait();
  }

  std::function<bool()> last_done() const override {
    return [end = last_] { return end->reached(); };
  }

private:
  std::unique_ptr<PendingCollective> sum(const char* operation, const at::Tensor& tensor) {
    return start(operation, {&tensor}, [&] {
      void* const values = tensor.data_ptr();
      return ncclAllReduce(values, values, static_cast<std::size_t>(tensor.numel()), nccl_type(tensor.scalar_type()),
                           ncclSum, handle_.get(), stream_.stream());
    });
  }

  /// Queues, as one operation, that row r becomes what rank r sends, for all r but 0.
  ncclResult_t receive_rows(const at::Tensor& rows) const {
    const std::size_t bytes = rows.nbytes() / static_cast<std::size_t>(size_);
    ncclResult_t result = ncclGroupStart();
    for (int from = 1; from < size_ && result == ncclSuccess; ++from)
      result = ncclRecv(static_cast<char*>(rows.data_ptr()) + static_cast<std::size_t>(from) * bytes, bytes, ncclUint8,
                        from, handle_.get(), stream_.stream());
    const ncclResult_t end = ncclGroupEnd();
    return result == ncclSuccess ? end : result;
  }

  void* own_part(const at::Tensor& tensor) const {
    const std::size_t bytes = tensor.nbytes() / static_cast<std::size_t>(size_);
    return static_cast<char*>(tensor.data_ptr()) + static_cast<std::size_t>(rank_) * bytes;
  }

  /// Queues one operation on the communicator's stream, behind what the current stream holds. An error of an earlier
  /// one, seen by NCCL's own threads, is reported here too.
  template <class Queue>
  std::unique_ptr<NcclTransfer> start(const char* operation, std::initializer_list<const at::Tensor*> tensors,
                                      Queue queue) {
    for (const at::Tensor* tensor : tensors) {
      if (tensor->device().index() != device_) {
        fail("{} on rank {}: the tensor is on {}, the communicator on GPU {}", operation, rank_, tensor->device().str(),
             device_);
      }
      // Its memory, made on another stream, must not be reused before this one is done with it.
      c10::cuda::CUDACachingAllocator::recordStream(tensor->storage().data_ptr(), stream_);
    }
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_));
    ncclResult_t earlier = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(handle_.get(), &earlier), operation, rank_, handle_.get());
    check_nccl(earlier, operation, rank_, handle_.get());
    Event ready(operation, rank_, device_);
    ready.record(c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device_)).stream());
    ready.hold_up(stream_.stream());
    const auto end = std::make_shared<Event>(operation, rank_, device_);
    check_nccl(queue(), operation, rank_, handle_.get());
    end->record(stream_.stream());
    last_ = end;
    return std::make_unique<NcclTransfer>(end, device_);
  }

  int rank_, size_, device_;
  CurrentDevice current_;
  c10::cuda::CUDAStream stream_;
  NcclHandle handle_;
  std::shared_ptr<const Event> last_;  ///< the end of the operation queued last
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
  std::string place_of(int device) const override {
    char place[32] = "";
    const cudaError_t error = cudaDeviceGetPCIBusId(place, sizeof place, device);
    if (error != cudaSuccess) fail("GPU {} does not say where it is: {}", device, cudaGetErrorString(error));
    return place;
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

extern "C" __attribute__((visibility("default"))) CudaLibrary* couplet_cuda_library_4() {
  static Library library;
  return &library;
}

}  // namespace couplet
