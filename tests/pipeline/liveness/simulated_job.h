// The ranks of a job on several nodes, in one process, by a clock of the test's own.
#pragma once

#include "pipeline/liveness/job_heartbeats.h"
#include "storage/filesystem.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// How often the files of a directory are opened, by anybody, for writing and for reading.
class OpenedFiles {
public:
  explicit OpenedFiles(const fs::path& directory) : queue_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    if (::inotify_add_watch(queue_, directory.c_str(), IN_CLOSE) < 0) ADD_FAILURE() << "no inotify";
  }
  ~OpenedFiles() { ::close(queue_); }
  OpenedFiles(const OpenedFiles&) = delete;
  OpenedFiles& operator=(const OpenedFiles&) = delete;

  /// Takes account of what has happened. Equal events that follow each other count once, unless it is called between.
  void count() {
    alignas(inotify_event) std::array<char, 65536> events;
    ssize_t bytes = 0;
    while ((bytes = ::read(queue_, events.data(), events.size())) > 0)
      for (ssize_t at = 0; at < bytes;) {
        inotify_event event{};
        std::memcpy(&event, &events[static_cast<std::size_t>(at)], sizeof event);
        const char* const name = &events[static_cast<std::size_t>(at) + sizeof event];
        if (event.mask & IN_Q_OVERFLOW) ADD_FAILURE() << "too many events";
        if (event.len > 0) ++(event.mask & IN_CLOSE_WRITE ? written : read)[name];
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
  }

  std::map<std::string, int> written, read;  ///< by the file's name

private:
  int queue_;
};

/// Ranks are numbered through the nodes. Each has opened its node's memory by itself, as its process would.
class SimulatedJob {
public:
  explicit SimulatedJob(const std::vector<int>& ranks_of_nodes) {
    static int jobs = 0;
    const std::string job = fmt::format("test-{}-{}", ::getpid(), ++jobs);
    directory = fs::temp_directory_path() / ("couplet-" + job);
    files = std::make_unique<HeartbeatFiles>(directory, "job", job);
    files->clear();
    int places = 0;
    for (const int count : ranks_of_nodes) places += count;
    std::vector<std::string> identities;
    for (std::size_t node = 0; node < ranks_of_nodes.size(); ++node)
      for (int rank = 0; rank < ranks_of_nodes[node]; ++rank) {
        names.push_back(fmt::format("couplet-{}-{}", job, node));
        memories.push_back(std::make_shared<NodeMemory>(names.back(), places, heartbeat_bytes));
        identities.push_back(memories.back()->identity());
      }
    for (std::size_t rank = 0; rank < memories.size(); ++rank) {
      memories[rank]->remove_name();
      ranks.emplace_back(*files, memories[rank], identities, static_cast<int>(rank));
    }
  }
  ~SimulatedJob() { fs::remove_all(directory); }
  SimulatedJob(const SimulatedJob&) = delete;
  SimulatedJob& operator=(const SimulatedJob&) = delete;

  static JobHeartbeats::Time at(double seconds) {
    return JobHeartbeats::Time(std::chrono::nanoseconds(static_cast<std::int64_t>((1000 + seconds) * 1e9)));
  }
  static Heartbeat heartbeat(int rank, std::int64_t number, const Activity& activity = {}) {
    return {rank, "node", 100 + rank, number, 0, activity};
  }

  fs::path directory;
  std::unique_ptr<HeartbeatFiles> files;
  std::vector<std::string> names;  ///< of the memory that each rank uses
  std::vector<std::shared_ptr<NodeMemory>> memories;
  std::vector<JobHeartbeats> ranks;
};

}  // namespace couplet
