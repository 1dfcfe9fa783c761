// Whether the program works where it is installed: every check of launch/selftest/checks.h on the ranks of this job.
#pragma once

#include <filesystem>

namespace couplet {

/// Runs all checks, each of which prints a line on stdout, in a directory below `directory` that is removed again.
/// Throws an error that names the checks that failed; an error of MPI or of one rank, and a request to stop, at once.
void run_selftest(const std::filesystem::path& directory);

}  // namespace couplet
