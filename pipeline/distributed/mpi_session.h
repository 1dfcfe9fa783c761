// MPI as a resource of the process: initialised once, finalised once at exit, every return code looked at.
#pragma once

#include <mpi.h>

namespace couplet {

/// Initialises MPI on the first call; finalised when the program exits (abort_all does not finalise).
void start_mpi();

/// Throws Error with MPI's text if `code` is not MPI_SUCCESS; `operation` and `rank` are named in it.
void check_mpi(int code, const char* operation, int rank);

}  // namespace couplet
