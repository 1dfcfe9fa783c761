// A short command that is run for what it prints, for a bounded time.
#pragma once

#include <string>
#include <vector>

namespace couplet {

struct CapturedCommand {
  int status = 0;          ///< as a shell gives it: exit status, or 128 + signal; 127: it could not be started
  bool timed_out = false;  ///< it was killed, with what it had started, because it took too long
  std::string output, errors;
};

/// Runs a program that is found on PATH, for at most `patience_seconds`, with nothing on its stdin and without the
/// environment variables whose names begin with one of `hidden`. Nothing that the command does makes it throw.
CapturedCommand run_captured(const std::vector<std::string>& words, double patience_seconds,
                             const std::vector<std::string>& hidden = {});

}  // namespace couplet
