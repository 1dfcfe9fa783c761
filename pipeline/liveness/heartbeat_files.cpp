#include "pipeline/liveness/heartbeat_files.h"

#include "storage/filesystem.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

namespace couplet {
namespace {

/// Of one node, each with its job.
using NodeRecords = std::vector<std::pair<Heartbeat, std::string>>;

NodeRecords parse_records(const std::string& texts) {
  NodeRecords records;
  for (std::size_t at = 0; at + heartbeat_bytes <= texts.size(); at += heartbeat_bytes)
    if (auto record = parse_heartbeat(texts.substr(at, heartbeat_bytes))) records.push_back(std::move(*record));
  return records;
}

/// What a file holds, and when it was written; "" if it cannot be read.
std::pair<std::string, double> read_texts(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  struct stat status {};
  std::string texts;
  double changed = 0;
  if (::fstat(file, &status) == 0) {
    texts.resize(static_cast<std::size_t>(status.st_size));
    changed = static_cast<double>(status.st_mtim.tv_sec) + static_cast<double>(status.st_mtim.tv_nsec) * 1e-9;
  }
  const ssize_t count = ::pread(file, texts.data(), texts.size(), 0);
  ::close(file);
  texts.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return {std::move(texts), changed};
}

}  // namespace

void HeartbeatFiles::clear() const {
  fs::create_directories(directory_);
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(name_ + ".")) fs::remove(entry.path());
  }
}

// The file is opened and closed each time: on NFS that sends the text to the server, and readers look for it there.
bool HeartbeatFiles::write(int lowest_rank, const std::string& texts) const {
  const int file = ::open(node_path(lowest_rank).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return false;
  const bool written = ::pwrite(file, texts.data(), texts.size(), 0) == static_cast<ssize_t>(texts.size());
  return ::close(file) == 0 && written;
}

std::vector<Heartbeat> HeartbeatFiles::read(int lowest_rank) const {
  return parse(read_texts(node_path(lowest_rank)).first);
}

std::vector<Heartbeat> HeartbeatFiles::parse(const std::string& texts) const {
  std::vector<Heartbeat> heartbeats;
  for (auto& [heartbeat, job] : parse_records(texts))
    if (job == job_) heartbeats.push_back(std::move(heartbeat));
  return heartbeats;
}

std::map<std::string, std::vector<Heartbeat>> HeartbeatFiles::read_all(
    const fs::path& directory, const std::function<bool(const std::string& name)>& wanted) {
  std::map<std::string, std::map<std::string, std::vector<Heartbeat>>> jobs;  // by name, then job
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().stem().string(), rank = entry.path().extension().string();
    const bool is_heartbeat = rank.size() > 1 && rank.find_first_not_of("0123456789", 1) == std::string::npos;
    if (!is_heartbeat || !wanted(name)) continue;
    const auto [texts, changed] = read_texts(entry.path());
    NodeRecords records = parse_records(texts);
    // The ranks of a node have one clock, and one of them has told of itself just before it wrote for all.
    double newest = -std::numeric_limits<double>::max();
    for (const auto& [heartbeat, job] : records) newest = std::max(newest, heartbeat.time);
    for (auto& [heartbeat, job] : records) {
      heartbeat.time += std::max(0.0, changed - newest);
      jobs[name][job].push_back(std::move(heartbeat));
    }
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

fs::path HeartbeatFiles::node_path(int lowest_rank) const {
  return directory_ / fmt::format("{}.{}", name_, lowest_rank);
}

fs::path HeartbeatFiles::end_path() const {
  return directory_ / (fmt::format("{}.{}.end", name_, job_));
}

}  // namespace couplet
