// A libcouplet_cuda.so without CUDA, as a rank of srun --gpus-per-task=1 sees it: one GPU, of its own. COUPLET_STAND_IN
// says what NCCL does ("fails" on rank 1, has "no id" on rank 0, or "hangs" on all ranks), or that the ranks' GPU is
// one and the same ("shares"). For nccl_setup_test.
#include "pipeline/distributed/cuda_library.h"
#include "storage/error.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace couplet {
namespace {

bool does(std::string_view what) {
  const char* const asked = std::getenv("COUPLET_STAND_IN");
  return asked && asked == what;
}

class StandIn final : public CudaLibrary {
public:
  int device_count() const override { return 1; }
  std::string place_of(int) const override {
    const char* const local = std::getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    return does("shares") || !local ? "0000:65:00.0" : "0000:65:00." + std::string(local);
  }
  std::vector<char> new_id() const override {
    if (does("no id")) fail("ncclGetUniqueId failed on rank 0: NCCL: no socket interface found");
    return std::vector<char>(128);
  }
  std::unique_ptr<CudaCollectives> join(const std::vector<char>&, int rank, int, int device) const override {
    if (device != 0) fail("there is no GPU {}", device);
    if (does("fails") && rank == 1) fail("ncclCommInitRank failed on rank 1: NCCL: unhandled system error");
    for (;;) ::pause();
  }
};

}  // namespace

extern "C" CudaLibrary* couplet_cuda_library_4() {
  static StandIn library;
  return &library;
}

}  // namespace couplet
