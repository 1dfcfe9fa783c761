#include "pipeline/process/end_note.h"

#include "pipeline/process/log.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/files/text_tail.h"
#include "storage/host_name.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <tuple>

namespace couplet {

namespace {

using Json = nlohmann::ordered_json;

const double process_start_time = unix_now();
std::atomic<int> note_file = -1;
std::atomic<int> first_signal = 0;
std::atomic<bool> closed = false;

std::filesystem::path& failure_file() {
  static auto* const path = new std::filesystem::path;  // never destroyed: the watchdog's thread may still need it
  return *path;
}

/// Waits for the note's lock, or takes it off it, of the whole file.
bool lock_note(short kind) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  return ::fcntl(note_file, F_SETLK, &lock) == 0;
}

/// Appends a line, safely in a signal's handler. Ranks of other hosts append, too: on a network file system each host
/// has an end of the file of its own in mind until it takes the file's lock. A lock that does not come is not waited
/// for long: its owner's host may be down, and a line that gets lost is worth less than a checkpoint.
void write_line(std::string_view line) {
  if (note_file < 0) return;
  constexpr int tries = 200;
  constexpr timespec between{0, 5'000'000};
  for (int i = 0; !lock_note(F_WRLCK) && i < tries; ++i) ::nanosleep(&between, nullptr);
  std::ignore = ::write(note_file, line.data(), line.size());
  lock_note(F_UNLCK);
}

// Whole lines, made before they are needed: a signal's handler may not make any.
std::string_view signal_line(int signal) {
  if (signal == SIGUSR1) return "{\"event\":\"signal\",\"signal\":\"USR1\"}\n";
  return signal == SIGTERM ? "{\"event\":\"signal\",\"signal\":\"TERM\"}\n"
                           : "{\"event\":\"signal\",\"signal\":\"INT\"}\n";
}

std::string_view again_line(int signal) {
  if (signal == SIGUSR1) return "{\"event\":\"again\",\"signal\":\"USR1\"}\n";
  return signal == SIGTERM ? "{\"event\":\"again\",\"signal\":\"TERM\"}\n"
                           : "{\"event\":\"again\",\"signal\":\"INT\"}\n";
}

/// On one line, and UTF-8 whatever the texts hold.
std::string line_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// Does nothing where the file cannot be written: this process has an error to report already.
void keep(const RankFailure& failure) {
  const std::filesystem::path& path = failure_file();
  if (path.empty()) return;
  if (const auto earlier = read_failure(path); earlier && earlier->time >= process_start_time) return;
  const std::filesystem::path written = path.string() + fmt::format(".{}-{}", failure.host, ::getpid());
  std::ofstream(written) << line_of({{"time", failure.time},
                                     {"stage", failure.stage},
                                     {"rank", failure.rank},
                                     {"host", failure.host},
                                     {"message", failure.message}});
  std::error_code error;
  std::filesystem::rename(written, path, error);
}

}  // namespace

void open_end_note(const std::filesystem::path& path) {
  note_file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (note_file < 0) fail("cannot write to {}: {}", path.string(), errno_text(errno));
  if (first_signal != 0) write_line(signal_line(first_signal));
}

void note_signal(int signal, bool again) {
  if (closed) return;
  if (!again) first_signal = signal;
  write_line(again ? again_line(signal) : signal_line(signal));
}

void note_failure(int rank, const std::string& message) {
  RankFailure failure{unix_now(), stage_in_log(), rank, host_name(), message};
  std::ranges::replace(failure.message, '\n', ' ');
  write_line(line_of({{"event", "failed"}, {"rank", rank}, {"host", failure.host}, {"message", failure.message}}));
  keep(failure);
}

void note_success() {
  close_end_note();
  write_line("{\"event\":\"done\"}\n");
}

void close_end_note() {
  closed = true;
}

std::filesystem::path failure_path(const std::filesystem::path& directory, const std::string& name) {
  return directory / (name + ".failure");
}

void keep_failure_in(const std::filesystem::path& path) {
  failure_file() = path;
}

std::optional<RankFailure> read_failure(const std::filesystem::path& path) {
  const auto json = nlohmann::json::parse(first_line(path), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    return RankFailure{json.at("time"), json.at("stage"), json.at("rank"), json.at("host"), json.at("message")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace couplet
