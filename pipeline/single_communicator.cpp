#include "pipeline/collective_checks.h"
#include "pipeline/communicator.h"

namespace couplet {
namespace {

class SingleCommunicator final : public Communicator {
public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  void all_reduce(at::Tensor& tensor) override { check_reducible(tensor, tensor.is_cuda(), 0); }
  void broadcast(at::Tensor& tensor, int root) override {
    check_dense(tensor, "broadcast", 0);
    check_root(root, 1, "broadcast", 0);
  }
  at::Tensor all_gather(const at::Tensor& tensor) override {
    check_dense(tensor, "all_gather", 0);
    return tensor.detach().unsqueeze(0).clone(at::MemoryFormat::Contiguous);
  }
  void barrier() override {}
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

}  // namespace couplet
