#include "pipeline/distributed/mpi.h"

#include "storage/error.h"

#include <ATen/core/grad_mode.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <utility>

namespace couplet {
namespace {

bool mpi_usable() {
  int initialised = 0, finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  return initialised && !finalised;
}

/// MPI from its first use to the end of the program.
class MpiSession {
public:
  MpiSession() {
    int provided = MPI_THREAD_SINGLE;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread", 0);
    // Errors come back as codes, which become exceptions; MPI's own handler would end the process without a word of
    // context.
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (provided < MPI_THREAD_SERIALIZED) {
      fail("this MPI library cannot be used from more than one thread (MPI_THREAD_SERIALIZED); one that can is needed");
    }
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &ends_), "MPI_Comm_dup", 0);
  }
  ~MpiSession() {
    if (mpi_usable()) MPI_Finalize();
  }
  bool all_ended() {
    if (!ending_ && MPI_Ibarrier(ends_, &end_) != MPI_SUCCESS) return false;
    ending_ = true;
    int all = 0;
    return MPI_Test(&end_, &all, MPI_STATUS_IGNORE) == MPI_SUCCESS && all != 0;
  }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

private:
  /// For the ranks' ends alone: where one fails, the others may be in any collective of MPI_COMM_WORLD.
  MPI_Comm ends_ = MPI_COMM_NULL;
  MPI_Request end_ = MPI_REQUEST_NULL;
  bool ending_ = false;
};

MpiSession& session() {
  static MpiSession session;
  return session;
}

}  // namespace

void start_mpi() {
  session();
}

std::optional<RankIdentity> identity_by_mpi() {
  if (!mpi_usable()) return std::nullopt;
  RankIdentity identity;
  MPI_Comm_rank(MPI_COMM_WORLD, &identity.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &identity.ranks);
  return identity;
}

bool all_ranks_ended() {
  return session().all_ended();
}

void check_mpi(int code, const char* operation, int rank) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail("{} failed on rank {}: {}", operation, rank, text);
}

void abort_all(int status) {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  if (mpi_usable()) MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

MpiTransfer::~MpiTransfer() {
  if (done_) return;
  if (std::uncaught_exceptions() > 0) {
    // MPI goes on writing there until the process ends.
    std::make_unique<std::vector<at::Tensor>>(std::move(buffers_)).release();
    return;
  }
  try {
    wait();
  } catch (const std::exception&) {
    // A failed operation reports itself in the calls that follow, on every rank.
  }
}

MPI_Request* MpiTransfer::add_request() {
  return &requests_.emplace_back(MPI_REQUEST_NULL);
}

bool MpiTransfer::test() {
  if (arrived_) return true;
  int all = 0;
  check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE),
            call_.operation, rank_);
  arrived_ = all != 0;
  return arrived_;
}

void MpiTransfer::wait() {
  if (done_) return;
  if (!arrived_) {
    const Waiting waiting(call_);
    check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), call_.operation,
              rank_);
    arrived_ = true;
  }
  const at::NoGradGuard no_grad;
  finish_();
  done_ = true;
}

}  // namespace couplet
