#include "pipeline/liveness/heartbeat_files.h"

#include "storage/clock.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/host_name.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

constexpr std::size_t heartbeat_bytes = 2048;  // always, so that a heartbeat is written over the one before in one call
constexpr std::size_t hash_digits = 16;
constexpr std::size_t text_bytes = 200;  // of each text at most

constexpr std::array state_names{"computing", "alone", "waiting", "ended"};

std::string hash_of(std::string_view text) {
  return fmt::format("{:016x}", hash64(std::as_bytes(std::span(text.data(), text.size()))));
}

/// "HASH {json}", filled up with spaces. The hash shows whether a heartbeat was read while it was being written.
std::string to_text(const Heartbeat& heartbeat, const std::string& job) {
  const Activity& activity = heartbeat.activity;
  const nlohmann::json json = {{"job", job},
                               {"rank", heartbeat.rank},
                               {"host", heartbeat.host.substr(0, text_bytes)},
                               {"process", heartbeat.process},
                               {"number", heartbeat.number},
                               {"time", heartbeat.time},
                               {"state", state_names[static_cast<std::size_t>(activity.state)]},
                               {"seconds", activity.seconds},
                               {"collectives", activity.collectives},
                               {"waits_for", activity.waits_for},
                               {"what", activity.what.substr(0, text_bytes)},
                               {"step", activity.step.substr(0, text_bytes)},
                               {"rate", activity.rate}};
  // Texts may have been cut within a character.
  std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize(heartbeat_bytes - hash_digits - 2, ' ');
  return hash_of(text) + " " + text + "\n";
}

/// The heartbeat, and the job that it belongs to.
std::optional<std::pair<Heartbeat, std::string>> parse(const std::string& text) {
  if (text.size() != heartbeat_bytes) return std::nullopt;
  const std::string body = text.substr(hash_digits + 1, heartbeat_bytes - hash_digits - 2);
  if (!text.starts_with(hash_of(body) + " ")) return std::nullopt;
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  Heartbeat heartbeat;
  heartbeat.rank = json.value("rank", 0);
  heartbeat.host = json.value("host", "");
  heartbeat.process = json.value("process", std::int64_t{0});
  heartbeat.number = json.value("number", std::int64_t{0});
  heartbeat.time = json.value("time", 0.0);
  const std::string state = json.value("state", "");
  for (std::size_t i = 0; i < state_names.size(); ++i)
    if (state == state_names[i]) heartbeat.activity.state = static_cast<Activity::State>(i);
  heartbeat.activity.seconds = json.value("seconds", 0.0);
  heartbeat.activity.collectives = json.value("collectives", std::int64_t{0});
  heartbeat.activity.waits_for = json.value("waits_for", std::int64_t{0});
  heartbeat.activity.what = json.value("what", "");
  heartbeat.activity.step = json.value("step", "");
  heartbeat.activity.rate = json.value("rate", 0.0);
  return std::pair(heartbeat, json.value("job", ""));
}

/// The text of a heartbeat's file; "" if it cannot be read.
std::string read_text(const fs::path& path, double& changed) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  std::string text(heartbeat_bytes, '\0');
  const ssize_t count = ::pread(file, text.data(), text.size(), 0);
  struct stat status {};
  if (::fstat(file, &status) == 0)
    changed = static_cast<double>(status.st_mtim.tv_sec) + static_cast<double>(status.st_mtim.tv_nsec) * 1e-9;
  ::close(file);
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

}  // namespace

Heartbeat Heartbeat::own(int rank, std::int64_t number) {
  static const std::string host = host_name();
  return {rank, host, ::getpid(), number, unix_now(), current_activity()};
}

void HeartbeatFiles::clear() const {
  fs::create_directories(directory_);
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(name_ + ".")) fs::remove(entry.path());
  }
}

// The file is opened and closed each time: on NFS that sends the text to the server, and readers look for it there.
bool HeartbeatFiles::write(const Heartbeat& heartbeat) const {
  const std::string text = to_text(heartbeat, job_);
  const int file = ::open(rank_path(heartbeat.rank).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return false;
  const bool written = ::pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  return ::close(file) == 0 && written;
}

std::optional<Heartbeat> HeartbeatFiles::read(int rank) const {
  double changed = 0;
  auto found = parse(read_text(rank_path(rank), changed));
  if (!found || found->second != job_) return std::nullopt;
  return std::move(found->first);
}

std::map<std::string, std::vector<Heartbeat>> HeartbeatFiles::read_all(
    const fs::path& directory, const std::function<bool(const std::string& name)>& wanted) {
  std::map<std::string, std::map<std::string, std::vector<Heartbeat>>> jobs;  // by name, then job
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().stem().string(), rank = entry.path().extension().string();
    const bool is_heartbeat = rank.size() > 1 && rank.find_first_not_of("0123456789", 1) == std::string::npos;
    if (!is_heartbeat || !wanted(name)) continue;
    double changed = 0;
    auto found = parse(read_text(entry.path(), changed));
    if (!found) continue;
    found->first.time = std::max(found->first.time, changed);
    jobs[name][found->second].push_back(std::move(found->first));
  }
  std::map<std::string, std::vector<Heartbeat>> found_by_name;
  const auto last_time = [](const auto& job) { return std::ranges::max(job.second, {}, &Heartbeat::time).time; };
  for (auto& [name, by_job] : jobs) {
    found_by_name[name] = std::ranges::max_element(by_job, {}, last_time)->second;
    std::ranges::sort(found_by_name[name], {}, &Heartbeat::rank);
  }
  return found_by_name;
}

bool HeartbeatFiles::announce_end(const std::string& reason) const {
  const int file = ::open(end_path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0) return errno != EEXIST;  // where the directory is gone, the reason is printed all the same
  const std::string line = reason + "\n";
  [[maybe_unused]] const ssize_t written = ::write(file, line.data(), line.size());
  ::close(file);
  return true;
}

bool HeartbeatFiles::end_announced() const {
  return ::access(end_path().c_str(), F_OK) == 0;
}

fs::path HeartbeatFiles::rank_path(int rank) const {
  return directory_ / fmt::format("{}.{}", name_, rank);
}

fs::path HeartbeatFiles::end_path() const {
  return directory_ / (fmt::format("{}.{}.end", name_, job_));
}

}  // namespace couplet
