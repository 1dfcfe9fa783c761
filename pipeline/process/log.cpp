#include "pipeline/process/log.h"

#include "storage/clock.h"
#include "storage/files/file_handle.h"
#include "storage/text.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>

namespace couplet {
namespace {

/// Where this process's lines go. Each line is one write, so that the lines of several processes do not mix.
struct Destination {
  std::mutex mutex;
  std::string stage;
  int rank = 0, ranks = 1;
  std::FILE* stream = stdout;
  int file = -1;
};

Destination& destination() {
  static Destination instance;
  return instance;
}

void print(std::FILE* stream, const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stream);
  std::fflush(stream);
}

}  // namespace

void open_log(const std::filesystem::path& path, const std::string& stage, int rank, int ranks, std::FILE* stream) {
  auto& to = destination();
  const std::scoped_lock lock(to.mutex);
  if (to.file >= 0) ::close(to.file);
  to.file = -1;
  to.stage = stage;
  to.rank = rank;
  to.ranks = ranks;
  to.stream = stream;
  if (rank == 0 && !path.empty()) to.file = open_to_append(path);
}

void say_line(const std::string& line) {
  auto& to = destination();
  const std::scoped_lock lock(to.mutex);
  if (to.rank != 0) return;
  const std::string text = to.stage.empty() ? line + "\n" : fmt::format("{}: {}\n", to.stage, line);
  print(to.stream, text);
  if (to.file >= 0) write_whole(to.file, text);  // a full disk must not end the work that the line is about
}

std::string stage_in_log() {
  auto& to = destination();
  const std::scoped_lock lock(to.mutex);
  return to.stage;
}

void warn_line(const std::string& line) {
  auto& to = destination();
  const std::scoped_lock lock(to.mutex);
  std::string text = to.stage.empty() ? "" : to.stage + ": ";
  if (to.rank > 0 || to.ranks > 1) text += fmt::format("rank {}: ", to.rank);
  text += "warning: " + line + "\n";
  print(stderr, text);
  if (to.file >= 0) write_whole(to.file, text);
}

Progress::Progress(std::int64_t done, std::int64_t total, double interval_seconds)
    : first_(done), total_(total), interval_(interval_seconds), start_(std::chrono::steady_clock::now()) {}

bool Progress::due(std::int64_t done) {
  const auto now = std::chrono::steady_clock::now();
  const bool first = last_ == std::chrono::steady_clock::time_point{};
  if (!first && done < total_ && std::chrono::duration<double>(now - last_).count() < interval_) return false;
  last_ = now;
  return true;
}

double Progress::rate(std::int64_t done) const {
  const double elapsed = seconds_since(start_);
  return elapsed > 0 ? static_cast<double>(done - first_) / elapsed : 0;
}

std::string Progress::remaining(std::int64_t done) const {
  if (done >= total_) return duration_text(0);
  const double now = rate(done);
  return now > 0 ? duration_text(static_cast<double>(total_ - done) / now) : "unknown";
}

}  // namespace couplet
