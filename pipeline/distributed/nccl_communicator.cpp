#include "pipeline/distributed/nccl_communicator.h"

#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/liveness/activity.h"
#include "storage/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <utility>
#include <vector>

namespace couplet {
namespace {

class NcclCommunicator final : public Communicator {
public:
  explicit NcclCommunicator(std::unique_ptr<MpiCommunicator> mpi) : mpi_(std::move(mpi)) {
    const CudaLibrary& library = *find_cuda().library;
    std::string id;
    if (mpi_->is_root()) {
      const std::vector<char> bytes = library.new_id();
      id.assign(bytes.begin(), bytes.end());
    }
    id = mpi_->broadcast_text(id, 0);
    const Waiting waiting(enter_collective("NCCL's set-up"));
    nccl_ = library.join({id.begin(), id.end()}, mpi_->rank(), mpi_->size(), gpu_number(*mpi_));
  }
  int rank() const override { return mpi_->rank(); }
  int size() const override { return mpi_->size(); }
  int local_rank() const override { return mpi_->local_rank(); }

  void all_reduce(at::Tensor& tensor) override {
    if (!on_gpu(tensor)) return mpi_->all_reduce(tensor);
    check_reducible(tensor, true, "all_reduce", rank());
    const CollectiveCall call = agree_on_repeated("all_reduce", tensor);
    if (tensor.numel() == 0) return;
    queue(call, [&] { nccl_->all_reduce(tensor); });
  }
  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override {
    if (!on_gpu(tensor)) return mpi_->start_all_reduce(std::move(tensor));
    check_reducible(tensor, true, "start_all_reduce", rank());
    const CollectiveCall call = agree_on_repeated("start_all_reduce", tensor);
    std::unique_ptr<PendingCollective> pending;
    queue(call, [&] { pending = nccl_->start_all_reduce(tensor); });
    return pending;
  }
  std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) override {
    if (!on_gpu(tensor)) return mpi_->start_reduce_scatter(std::move(tensor));
    check_reducible(tensor, true, "start_reduce_scatter", rank());
    check_parts(tensor, size(), "start_reduce_scatter", rank());
    const CollectiveCall call = agree_on_repeated("start_reduce_scatter", tensor);
    std::unique_ptr<PendingCollective> pending;
    queue(call, [&] { pending = nccl_->start_reduce_scatter(tensor); });
    return pending;
  }
  void all_gather_parts(at::Tensor& tensor) override {
    if (!on_gpu(tensor)) return mpi_->all_gather_parts(tensor);
    check_parts(tensor, size(), "all_gather_parts", rank());
    const CollectiveCall call = agree_on_repeated("all_gather_parts", tensor);
    if (tensor.numel() == 0) return;
    queue(call, [&] { nccl_->all_gather_parts(tensor); });
  }
  void broadcast(at::Tensor& tensor, int root) override {
    if (!on_gpu(tensor)) return mpi_->broadcast(tensor, root);
    check_root(root, size(), "broadcast", rank());
    const CollectiveCall call = agree("broadcast", tensor, root);
    if (tensor.numel() == 0) return;
    const at::NoGradGuard no_grad;
    at::Tensor values = tensor.contiguous();
    queue(call, [&] { nccl_->broadcast(values, root); });
    if (!values.is_same(tensor)) tensor.copy_(values);
  }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    if (!on_gpu(tensor)) return mpi_->all_gather(tensor);
    const CollectiveCall call = agree("all_gather", tensor, -1);
    const at::NoGradGuard no_grad;
    at::Tensor gathered = room_for_all(tensor);
    if (tensor.numel() == 0) return gathered;
    queue(call, [&] { nccl_->all_gather(tensor.contiguous(), gathered); });
    return gathered;
  }
  at::Tensor gather_at_root(const at::Tensor& tensor) override {
    if (!on_gpu(tensor)) return mpi_->gather_at_root(tensor);
    const CollectiveCall call = agree("gather_at_root", tensor, -1);
    const at::NoGradGuard no_grad;
    at::Tensor gathered = is_root() ? room_for_all(tensor) : at::Tensor();
    if (tensor.numel() == 0) return gathered;
    queue(call, [&] { nccl_->gather_at_root(tensor.contiguous(), gathered); });
    return gathered;
  }
  void barrier() override { mpi_->barrier(); }

private:
  CollectiveCall agree(const char* operation, const at::Tensor& tensor, int root) {
    const CollectiveCall call = enter_collective(operation, &tensor, root);
    const Waiting waiting(call);
    mpi_->agree(call);
    return call;
  }
  CollectiveCall agree_on_repeated(const char* operation, const at::Tensor& tensor) {
    const CollectiveCall call = enter_collective(operation, &tensor);
    const Waiting waiting(call);
    mpi_->agree_on_repeated(call);
    return call;
  }
  /// Queues an operation. NCCL connects two ranks in the first one between them, and keeps the host until both have
  /// come; else the host does not wait, and a call that never ends would show nowhere else.
  template <class Work>
  void queue(const CollectiveCall& call, const Work& work) {
    {
      const Waiting waiting(call);
      work();
    }
    watch_collective(call, nccl_->last_done());
  }

  /// [size, shape...] on the tensor's device, uninitialised.
  at::Tensor room_for_all(const at::Tensor& tensor) const {
    std::vector<std::int64_t> sizes = tensor.sizes().vec();
    sizes.insert(sizes.begin(), size());
    return at::empty(sizes, at::TensorOptions().dtype(tensor.scalar_type()).device(tensor.device()));
  }

  static bool on_gpu(const at::Tensor& tensor) { return tensor.defined() && tensor.is_cuda(); }

  std::unique_ptr<MpiCommunicator> mpi_;
  std::unique_ptr<CudaCollectives> nccl_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<MpiCommunicator> mpi) {
  return std::make_unique<NcclCommunicator>(std::move(mpi));
}

std::unique_ptr<Communicator> make_nccl_communicator() {
  resolve_device("cuda");
  return make_nccl_communicator(std::make_unique<MpiCommunicator>());
}

}  // namespace couplet
