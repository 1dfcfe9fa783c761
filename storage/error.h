// The one exception type of the program, and its exit statuses.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace couplet {

/// Exit statuses of every command (listed for users in docs/commands.md).
enum ExitStatus : int {
  exit_ok = 0,
  exit_failed = 1,       ///< the work could not be done, and the message says why
  exit_usage = 2,        ///< the command line or configuration was refused before any work
  exit_interrupted = 75  ///< stopped on request after a checkpoint; the same command goes on
};

/// An error that a user can act on. It says what was being done, with which file or key, what was found and what was
/// expected, and what to do. Whoever prints it puts the rank in front.
class Error : public std::runtime_error {
public:
  explicit Error(const std::string& message, ExitStatus status = exit_failed)
      : std::runtime_error(message), status_(status) {}
  ExitStatus status() const { return status_; }

private:
  ExitStatus status_;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws an Error about what is refused before any work: unknown keys, values out of range, impossible combinations.
template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...), exit_usage);
}

}  // namespace couplet
