#include "pipeline/log.h"

#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <mutex>
#include <string_view>
#include <system_error>

namespace couplet {
namespace {

/// Where this process's lines go. A line is one write, so that lines of several processes never mix within a line.
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

std::string errno_message() {
  return std::generic_category().message(errno);
}

int open_to_append(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) fail("{}: cannot be opened for appending: {}", path.string(), errno_message());
  return file;
}

bool write_whole(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

void print(std::FILE* stream, const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stream);
  std::fflush(stream);
}

/// Where the lines to keep end: behind the last whole line whose "step" is below `first_step`. Steps ascend through the
/// file, so that the search goes backwards from its end. `cut` counts the whole lines behind that place.
std::size_t kept_bytes(const std::string& text, const std::filesystem::path& path, std::int64_t first_step,
                       std::int64_t& cut) {
  const std::size_t last_newline = text.rfind('\n');
  std::size_t end = last_newline == std::string::npos ? 0 : last_newline + 1;  // what follows was torn by a kill
  while (end > 0) {
    const std::size_t newline = end < 2 ? std::string::npos : text.rfind('\n', end - 2);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const auto line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                            text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (line.is_discarded())
      fail("{}: byte {} begins a line that is no JSON; repair or remove it", path.string(), begin);
    if (!line.is_object() || !line.contains("step") || line["step"].get<std::int64_t>() < first_step) break;
    ++cut;
    end = begin;
  }
  return end;
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
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return elapsed > 0 ? static_cast<double>(done - first_) / elapsed : 0;
}

std::string Progress::remaining(std::int64_t done) const {
  if (done >= total_) return duration_text(0);
  const double now = rate(done);
  return now > 0 ? duration_text(static_cast<double>(total_ - done) / now) : "unknown";
}

Metrics::Metrics(const std::filesystem::path& path, std::int64_t first_step) : path_(path) {
  file_ = open_to_append(path_);
  try {
    const std::string text = read_file(path_);
    const std::size_t kept = kept_bytes(text, path_, first_step, lost_);
    if (kept < text.size() && ::ftruncate(file_, static_cast<off_t>(kept)) != 0) {
      fail("{}: cannot be cut at step {}: {}", path_.string(), first_step, errno_message());
    }
  } catch (...) {
    ::close(file_);
    throw;
  }
}

Metrics::~Metrics() {
  ::close(file_);
}

void Metrics::write(const nlohmann::json& line) {
  if (!write_whole(file_, line.dump() + "\n")) {
    fail("{}: a line cannot be written: {}", path_.string(), errno_message());
  }
}

}  // namespace couplet
