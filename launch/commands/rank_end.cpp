#include "launch/commands/rank_end.h"

#include "pipeline/distributed/communicator.h"
#include "pipeline/process/end_note.h"
#include "pipeline/process/interruption.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

namespace couplet {

namespace {

/// Waits on a rank other than 0 that has failed. Returns true if rank 0 ends all ranks within the next second (mpirun
/// then sends SIGTERM to the others).
bool rank_0_ends_all() {
  if (stop_requested()) return false;
  for (int i = 0; i < 100 && !stop_requested(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return stop_requested();
}

/// Ends this rank, and so all others, after a failure. Rank 0 alone prints a failure that all ranks meet (a missing
/// file).
int end_ranks(const RankIdentity& identity, const std::string& message, int status) {
  close_end_note();
  if (identity.rank == 0 || !rank_0_ends_all()) {
    const std::string text =
        fmt::format("{}{}", identity.ranks > 1 ? fmt::format("rank {}: ", identity.rank) : "", message);
    note_failure(identity.rank, text);
    fmt::print(stderr, "couplet: {}\n", text);
  }
  if (identity.ranks > 1) abort_all(status);
  return status;
}

int started_as_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return 0;
}

}  // namespace

int run_rank(const std::function<int(RankIdentity& identity)>& work) {
  RankIdentity identity{started_as_rank(), 1};
  try {
    return work(identity);
  } catch (const Error& error) {
    return end_ranks(identity, error.what(), error.status());
  } catch (const c10::Error& error) {
    return end_ranks(identity, error.what_without_backtrace(), exit_failed);
  } catch (const std::exception& error) {
    return end_ranks(identity, error.what(), exit_failed);
  }
}

int run_alike(const Communicator& communicator, const std::function<int()>& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (communicator.is_root()) throw;
    return error.status();
  }
}

}  // namespace couplet
