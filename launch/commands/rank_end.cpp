#include "launch/commands/rank_end.h"

#include "pipeline/distributed/communicator.h"
#include "pipeline/process/end_note.h"
#include "pipeline/process/interruption.h"
#include "storage/filesystem.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

namespace couplet {

namespace {

/// How long a rank that has failed waits for the others, which may fail alike.
constexpr std::chrono::milliseconds patience(2000), poll_interval(10);

enum class Others {
  have_ended,  ///< too; or there are none
  are_ended,   ///< by a rank that failed before, or by the launcher
  go_on
};

int started_as_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* text = std::getenv(name)) return std::atoi(text);
  return 0;
}

/// What the other ranks do, by MPI, or where it is not in use by what the launcher does: it ends the other ranks with
/// SIGTERM when rank 0 has ended, and rank 0 waits for nobody.
Others look_at_others(const RankIdentity& identity, bool by_mpi) {
  if (by_mpi ? identity.ranks == 1 : identity.rank == 0) return Others::have_ended;
  const bool asked_before = stop_requested();
  for (auto waited = poll_interval; waited < patience; waited += poll_interval) {
    if (by_mpi && all_ranks_ended()) return Others::have_ended;
    if (!asked_before && stop_requested()) return Others::are_ended;
    std::this_thread::sleep_for(poll_interval);
  }
  return Others::go_on;
}

/// Ends this rank after a failure, and so all others.
int end_ranks(const std::string& message, int status) {
  close_end_note();
  std::optional<RankIdentity> known = identity_by_mpi();
  if (known && known->ranks == 1) known.reset();  // its launcher may have started more of them
  const RankIdentity identity = known.value_or(RankIdentity{started_as_rank(), 1});
  const Others others = look_at_others(identity, known.has_value());
  if (others == Others::go_on || (others == Others::have_ended && identity.rank == 0)) {
    const std::string text =
        fmt::format("{}{}", identity.ranks > 1 ? fmt::format("rank {}: ", identity.rank) : "", message);
    note_failure(identity.rank, text);
    fmt::print(stderr, "couplet: {}\n", text);
  }
  if (known && others != Others::have_ended) abort_all(status);
  return status;
}

}  // namespace

int run_rank(const std::function<int()>& work) {
  try {
    return work();
  } catch (const Error& error) {
    return end_ranks(error.what(), error.status());
  } catch (const fs::filesystem_error& error) {
    return end_ranks(words_of(error), exit_failed);
  } catch (const c10::Error& error) {
    return end_ranks(error.what_without_backtrace(), exit_failed);
  } catch (const std::exception& error) {
    return end_ranks(error.what(), exit_failed);
  } catch (...) {
    return end_ranks("an exception of an unknown kind", exit_failed);
  }
}

}  // namespace couplet
