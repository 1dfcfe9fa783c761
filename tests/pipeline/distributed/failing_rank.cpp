// Ranks of which one meets an end, while the others wait for it: failing_rank END [DIRECTORY TIMEOUT]. Started by
// abort_test under mpirun; with a directory a watchdog looks on.
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/liveness/watchdog.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

namespace couplet {
namespace {

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

[[noreturn]] void loop_for_ever() {
  for (volatile std::uint64_t turns = 0;;) turns = turns + 1;
}

/// What rank 1 does. `timeout`: the watchdog's, in seconds.
void misbehave(const std::string& end, double timeout) {
  if (end == "throws") fail("rank 1 has had enough");
  if (end == "refuses") refuse("rank 1 will not");
  if (end == "exits") std::_Exit(3);
  if (end == "killed") std::raise(SIGKILL);
  if (end == "stopped") std::raise(SIGSTOP);
  if (end == "loops") loop_for_ever();
  if (end == "busy") {
    const WorkingAlone alone("counting sheep");
    sleep_for(2 * timeout);
  }
  if (end == "broken-device") {
    watch_collective(enter_collective("all_reduce"), []() -> bool { fail("CUDA: an illegal memory access"); });
    loop_for_ever();
  }
  if (end == "busy-and-stopped") {
    const WorkingAlone alone("counting sheep");
    std::raise(SIGSTOP);
  }
  for (int i = 0; end == "slow" && i < 8; ++i) {
    note_progress(fmt::format("sheep {} of 8", i));
    sleep_for(timeout / 4);
  }
}

int work(Communicator& communicator, const std::string& end, double timeout) {
  communicator.barrier();
  if (end == "well") return exit_ok;
  if (end == "interrupted") return exit_interrupted;
  const bool odd = communicator.rank() == 1;
  if (odd && end == "leaves") return exit_ok;
  if (odd) misbehave(end, timeout);
  if (!(odd && end == "skips")) communicator.barrier();
  auto tensor = at::ones({end == "disagrees" && odd ? 100000 : 1000});
  communicator.all_reduce(tensor);
  if (end == "busy" || end == "slow") return exit_ok;
  for (;;) {
    communicator.all_reduce(tensor);
    communicator.barrier();
  }
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  try {
    const auto communicator = make_communicator("cpu");
    const double timeout = count > 3 ? std::atof(words[3]) : 0;
    std::optional<Watchdog> watchdog;
    if (count > 3) watchdog.emplace(make_job_heartbeats(*communicator, words[2], "test"), timeout);
    return work(*communicator, count > 1 ? words[1] : "", timeout);
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    abort_all(error.status());
  }
}
