// For tests in Python: what ranks might have noted some time ago, each from a line of stdin, fields apart by tabs:
//   NAME RANK AGE STATE SECONDS WHAT STEP HOST PROCESS RATE
#include "pipeline/liveness/heartbeat_files.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace couplet {
namespace {

Activity::State state_of(const std::string& text) {
  if (text == "alone") return Activity::State::alone;
  if (text == "waiting") return Activity::State::waiting;
  return text == "ended" ? Activity::State::ended : Activity::State::computing;
}

bool write_heartbeat(const std::filesystem::path& directory, const std::vector<std::string>& fields) {
  const std::chrono::duration<double> age(std::stod(fields[2]));
  const auto time = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::nanoseconds>(age);
  Heartbeat heartbeat;
  heartbeat.rank = std::stoi(fields[1]);
  heartbeat.host = fields[7];
  heartbeat.process = std::stoll(fields[8]);
  heartbeat.time = std::chrono::duration<double>(time.time_since_epoch()).count();
  heartbeat.activity.state = state_of(fields[3]);
  heartbeat.activity.seconds = std::stod(fields[4]);
  heartbeat.activity.waits_for = 17;
  heartbeat.activity.what = fields[5];
  heartbeat.activity.step = fields[6];
  heartbeat.activity.rate = std::stod(fields[9]);
  // As from a node of its own.
  if (!HeartbeatFiles(directory, fields[0], "test").write(heartbeat.rank, heartbeat_text(heartbeat, "test")))
    return false;
  std::filesystem::last_write_time(directory / (fields[0] + "." + fields[1]), std::chrono::file_clock::from_sys(time));
  return true;
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  if (count != 2) {
    std::fprintf(stderr, "write_heartbeats DIRECTORY < notes\n");
    return 2;
  }
  std::filesystem::create_directories(words[1]);
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, '\t');) fields.push_back(field);
    if (fields.size() != 10 || !couplet::write_heartbeat(words[1], fields)) {
      std::fprintf(stderr, "%s: not written\n", line.c_str());
      return 1;
    }
  }
  return 0;
}
