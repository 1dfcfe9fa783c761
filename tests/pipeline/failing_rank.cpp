// Ranks of which one meets an end, while the others wait for it. Started by abort_test under mpirun with how it ends.
#include "pipeline/communicator.h"
#include "storage/error.h"

#include <torch/types.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace couplet {
namespace {

int work(Communicator& communicator, const std::string& end) {
  communicator.barrier();
  if (end == "well") return exit_ok;
  if (end == "interrupted") return exit_interrupted;
  if (communicator.rank() == 1) {
    if (end == "throws") fail("rank 1 has had enough");
    if (end == "refuses") refuse("rank 1 will not");
    if (end == "exits") std::_Exit(3);
    if (end == "killed") std::raise(SIGKILL);
  }
  auto tensor = torch::ones({end == "disagrees" && communicator.rank() == 1 ? 100000 : 1000});
  for (;;) {
    communicator.all_reduce(tensor);
    communicator.barrier();
  }
}

}  // namespace
}  // namespace couplet

int main(int, char** argv) {
  using namespace couplet;
  try {
    const auto communicator = make_communicator("cpu");
    return work(*communicator, argv[1] ? argv[1] : "");
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    abort_all(error.status());
  }
}
