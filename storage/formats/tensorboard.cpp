#include "storage/formats/tensorboard.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/event_record.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <span>
#include <string_view>
#include <vector>

namespace couplet {
namespace {

constexpr std::string_view prefix = "events.out.tfevents.", suffix = ".couplet";

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The time in a file's name; 0 for another file.
std::int64_t time_in(const std::string& name) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() < prefix.size() + suffix.size()) return 0;
  const char *begin = name.data() + prefix.size(), *end = name.data() + name.size() - suffix.size();
  std::int64_t time = 0;
  const auto parsed = std::from_chars(begin, end, time);
  return parsed.ptr == end && parsed.ec == std::errc() ? time : 0;
}

/// Times in the names of the directory's event files, ascending.
std::vector<std::int64_t> files_in(const std::filesystem::path& directory) {
  std::vector<std::int64_t> times;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (const std::int64_t time = time_in(entry.path().filename().string())) times.push_back(time);
  }
  std::ranges::sort(times);
  return times;
}

std::filesystem::path file_of(const std::filesystem::path& directory, std::int64_t time) {
  return directory / fmt::format("{}{:010}{}", prefix, time, suffix);
}

/// The records of steps below `first_step`: all of them stand before the others.
std::string kept(const std::filesystem::path& path, std::int64_t first_step,
                 const std::function<void(const std::string&)>& warn) {
  const std::string bytes = read_file(path);
  std::size_t end = 0;
  while (end < bytes.size()) {
    const auto record = read_event_record(std::string_view(bytes).substr(end));
    if (!record) warn(fmt::format("{}: no whole record at byte {}; the curves begin anew there", path.string(), end));
    if (!record || record->step >= first_step) break;
    end += record->bytes;
  }
  return bytes.substr(0, end);
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& directory, std::int64_t first_step,
                     const std::function<void(const std::string&)>& warn) {
  std::filesystem::create_directories(directory);
  remove_leftovers(directory);
  const std::vector<std::int64_t> earlier = files_in(directory);
  std::string bytes = earlier.empty() ? "" : kept(file_of(directory, earlier.back()), first_step, warn);
  if (bytes.empty()) bytes = event_header(unix_time());
  // Readers take the files of a directory in the order of their names.
  const std::int64_t after = earlier.empty() ? 0 : earlier.back() + 1;
  path_ = file_of(directory, std::max(after, static_cast<std::int64_t>(unix_time())));
  publish_file(path_, bytes);
  for (const std::int64_t time : earlier) std::filesystem::resize_file(file_of(directory, time), 0);
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) fail("{}: cannot be opened for writing: {}", path_.string(), errno_text(errno));
  file_ = FileHandle(path_, descriptor);
  size_ = bytes.size();
}

void EventFile::add(std::int64_t step, const std::map<std::string, double>& values) {
  append(scalars_record(unix_time(), step, values));
}

void EventFile::add(std::int64_t step, const std::string& tag, const Picture& picture) {
  append(picture_record(unix_time(), step, tag, picture));
}

void EventFile::append(const std::string& record) {
  file_.write_at(std::as_bytes(std::span(record)), size_);
  size_ += record.size();
}

}  // namespace couplet
