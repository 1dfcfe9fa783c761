// For tests in Python: what ranks might have noted some time ago, each from a line of stdin, fields apart by tabs:
//   NAME RANK AGE STATE SECONDS WHAT STEP HOST PROCESS
#include "pipeline/liveness/rank_board.h"

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
  if (text == "busy") return Activity::State::busy;
  if (text == "waiting") return Activity::State::waiting;
  return text == "ended" ? Activity::State::ended : Activity::State::computing;
}

bool write_note(const std::filesystem::path& directory, const std::vector<std::string>& fields) {
  const std::chrono::duration<double> age(std::stod(fields[2]));
  const auto time = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::nanoseconds>(age);
  RankRecord record;
  record.rank = std::stoi(fields[1]);
  record.host = fields[7];
  record.process = std::stoll(fields[8]);
  record.time = std::chrono::duration<double>(time.time_since_epoch()).count();
  record.activity.state = state_of(fields[3]);
  record.activity.seconds = std::stod(fields[4]);
  record.activity.waits_for = 17;
  record.activity.what = fields[5];
  record.activity.step = fields[6];
  if (!RankBoard(directory, fields[0], "test").write(record)) return false;
  std::filesystem::last_write_time(directory / (fields[0] + "." + fields[1]), std::chrono::file_clock::from_sys(time));
  return true;
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  if (count != 2) {
    std::fprintf(stderr, "write_rank_notes DIRECTORY < notes\n");
    return 2;
  }
  std::filesystem::create_directories(words[1]);
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, '\t');) fields.push_back(field);
    if (fields.size() != 9 || !couplet::write_note(words[1], fields)) {
      std::fprintf(stderr, "%s: not written\n", line.c_str());
      return 1;
    }
  }
  return 0;
}
