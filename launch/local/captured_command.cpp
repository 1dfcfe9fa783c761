#include "launch/local/captured_command.h"

#include "launch/local/child_process.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>

namespace couplet {

namespace {

using Clock = std::chrono::steady_clock;

/// Appends what can be read at this moment; false at the end.
bool read_some(int descriptor, std::string& text) {
  std::array<char, 1 << 16> bytes;
  const ssize_t count = read(descriptor, bytes.data(), bytes.size());
  if (count > 0) text.append(bytes.data(), static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && (errno == EINTR || errno == EAGAIN));
}

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count() + 1;
  return static_cast<int>(std::max<std::int64_t>(0, left));
}

/// Reads both pipes to their ends; false when the deadline came first.
bool read_until(Clock::time_point deadline, int output, int errors, CapturedCommand& result) {
  std::array<pollfd, 2> pipes{{{output, POLLIN, 0}, {errors, POLLIN, 0}}};
  while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
    if (Clock::now() >= deadline) return false;
    poll(pipes.data(), pipes.size(), milliseconds_until(deadline));
    if (pipes[0].revents != 0 && !read_some(output, result.output)) pipes[0].fd = -1;
    if (pipes[1].revents != 0 && !read_some(errors, result.errors)) pipes[1].fd = -1;
  }
  return true;
}

/// Waits for the child until the deadline; nothing if it has not ended by then.
std::optional<int> wait_until(Clock::time_point deadline, ChildProcess& child) {
  while (!child.ended() && Clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return child.ended();
}

}  // namespace

CapturedCommand run_captured(const std::vector<std::string>& words, double patience_seconds,
                             const std::vector<std::string>& hidden) {
  CapturedCommand result;
  const std::filesystem::path program = find_on_path(words.front());
  if (program.empty()) return {127, false, "", words.front() + " is not on PATH"};
  ChildRequest request{words, -1, -1, hidden};
  request.command.front() = program.string();
  Pipe output, errors;
  request.output = output.write_end();
  request.errors = errors.write_end();
  ChildProcess child(request);
  output.close_write_end();
  errors.close_write_end();
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(std::max(0.0, patience_seconds)));
  std::optional<int> status;
  if (read_until(deadline, output.read_end(), errors.read_end(), result)) status = wait_until(deadline, child);
  result.timed_out = !status;
  result.status = status.value_or(128 + SIGKILL);
  return result;
}

}  // namespace couplet
