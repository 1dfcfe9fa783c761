// A libcouplet_cuda.so without CUDA, whose NCCL does what COUPLET_STAND_IN says: "fails" on rank 1, has "no id" on rank
// 0, or "hangs" on all ranks. For nccl_setup_test.
#include "pipeline/distributed/cuda_library.h"
#include "storage/error.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace couplet {
namespace {

bool does(std::string_view what) {
  const char* const asked = std::getenv("COUPLET_STAND_IN");
  return asked && asked == what;
}

class StandIn final : public CudaLibrary {
public:
  int device_count() const override { return 2; }
  std::vector<char> new_id() const override {
    if (does("no id")) fail("ncclGetUniqueId failed on rank 0: NCCL: no socket interface found");
    return std::vector<char>(128);
  }
  std::unique_ptr<CudaCollectives> join(const std::vector<char>&, int rank, int, int) const override {
    if (does("fails") && rank == 1) fail("ncclCommInitRank failed on rank 1: NCCL: unhandled system error");
    for (;;) ::pause();
  }
};

}  // namespace

extern "C" CudaLibrary* couplet_cuda_library_2() {
  static StandIn library;
  return &library;
}

}  // namespace couplet
