#include "pipeline/process/end_note.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <tuple>

namespace couplet {

namespace {

std::atomic<int> file = -1;
std::atomic<int> first_signal = 0;
std::atomic<bool> closed = false;

void write_line(std::string_view line) {
  if (file >= 0) std::ignore = ::write(file, line.data(), line.size());
}

std::string_view line_of(int signal) {
  return signal == SIGUSR1 ? "USR1\n" : signal == SIGTERM ? "TERM\n" : "INT\n";
}

}  // namespace

void open_end_note(const std::filesystem::path& path) {
  file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) fail("cannot write to {}: {}", path.string(), errno_text(errno));
  if (first_signal != 0) write_line(line_of(first_signal));
}

void note_signal(int signal, bool again) {
  if (closed) return;
  if (!again) first_signal = signal;
  write_line(again ? "again\n" : line_of(signal));
}

void note_failure(const std::string& message) {
  std::string line = "failed: " + message;
  std::ranges::replace(line, '\n', ' ');
  write_line(line + "\n");
}

void note_success() {
  close_end_note();
  write_line("done\n");
}

void close_end_note() {
  closed = true;
}

}  // namespace couplet
