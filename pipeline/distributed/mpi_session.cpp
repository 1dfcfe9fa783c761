#include "pipeline/distributed/mpi_session.h"

#include "pipeline/distributed/communicator.h"
#include "storage/error.h"

#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace couplet {
namespace {

bool mpi_usable() {
  int initialised = 0, finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  return initialised && !finalised;
}

/// Lives from the first use to the end of the program.
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
  }
  ~MpiSession() {
    if (mpi_usable()) MPI_Finalize();
  }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
};

}  // namespace

void start_mpi() {
  static const MpiSession session;
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

}  // namespace couplet
