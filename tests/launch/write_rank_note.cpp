// For tests in Python: notes on a board what a rank might have noted some time ago.
//   write_rank_note DIRECTORY NAME RANK AGE STATE SECONDS WHAT STEP [HOST PROCESS]
#include "pipeline/rank_board.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

int main(int count, char** words) {
  using namespace couplet;
  if (count != 9 && count != 11) {
    std::fprintf(stderr, "write_rank_note DIRECTORY NAME RANK AGE STATE SECONDS WHAT STEP [HOST PROCESS]\n");
    return 2;
  }
  const std::string state = words[5];
  RankRecord record;
  record.rank = std::stoi(words[3]);
  record.host = count == 11 ? words[9] : "testhost";
  record.process = count == 11 ? std::stoll(words[10]) : 4711;
  record.beat = 1;
  const std::chrono::duration<double> age(std::stod(words[4]));
  const auto time = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::nanoseconds>(age);
  record.time = std::chrono::duration<double>(time.time_since_epoch()).count();
  record.activity.state = state == "computing" ? Activity::State::computing
                          : state == "busy"    ? Activity::State::busy
                          : state == "waiting" ? Activity::State::waiting
                                               : Activity::State::ended;
  record.activity.seconds = std::stod(words[6]);
  record.activity.waits_for = 17;
  record.activity.what = words[7];
  record.activity.step = words[8];
  std::filesystem::create_directories(words[1]);
  if (!RankBoard(words[1], words[2], "test").write(record)) return 1;
  const auto path = std::filesystem::path(words[1]) / (std::string(words[2]) + "." + words[3]);
  std::filesystem::last_write_time(path, std::chrono::file_clock::from_sys(time));
  return 0;
}
