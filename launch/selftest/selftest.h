// Whether the program works where it is installed: every check of launch/selftest/checks.h on the ranks of this job.
#pragma once

#include <filesystem>

namespace couplet {

/// Runs all checks, each of which prints a line on stdout, in a directory below `directory` that is removed again.
/// Returns 0, or 1 where a check has failed. An error of MPI or of a rank alone, and a request to stop, are thrown.
int run_selftest(const std::filesystem::path& directory);

}  // namespace couplet
