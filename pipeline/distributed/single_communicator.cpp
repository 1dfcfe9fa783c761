#include "pipeline/distributed/communicator.h"

namespace couplet {
namespace {

/// Nothing to wait for.
class Done final : public PendingCollective {
public:
  bool test() override { return true; }
  void wait() override {}
};

class SingleCommunicator final : public Communicator {
public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  void all_reduce(at::Tensor& tensor) override { check(tensor, "all_reduce"); }
  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override {
    check(tensor, "start_all_reduce");
    return std::make_unique<Done>();
  }
  std::unique_ptr<PendingCollective> start_reduce_scatter(at::Tensor tensor) override {
    check(tensor, "start_reduce_scatter");
    return std::make_unique<Done>();
  }
  void all_gather_parts(at::Tensor& tensor) override { check_parts(tensor, 1, "all_gather_parts", 0); }
  void broadcast(at::Tensor& tensor, int root) override {
    check_dense(tensor, "broadcast", 0);
    check_root(root, 1, "broadcast", 0);
  }
  at::Tensor all_gather(const at::Tensor& tensor) override { return only_row(tensor, "all_gather"); }
  at::Tensor gather_at_root(const at::Tensor& tensor) override { return only_row(tensor, "gather_at_root"); }
  void barrier() override {}

private:
  static at::Tensor only_row(const at::Tensor& tensor, const char* operation) {
    check_dense(tensor, operation, 0);
    return tensor.detach().unsqueeze(0).clone(at::MemoryFormat::Contiguous);
  }
  static void check(const at::Tensor& tensor, const char* operation) {
    check_reducible(tensor, tensor.defined() && tensor.is_cuda(), operation, 0);
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

}  // namespace couplet
