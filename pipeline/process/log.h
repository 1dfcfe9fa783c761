// The lines that a user reads while a stage runs: whole lines from one rank, on stdout and in the stage's log.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace couplet {

/// Sends what rank 0 says to stdout (or to `stream`, where stdout is for results) and appends it to `path`, unless that
/// is empty. The other ranks say nothing. Lines start with the stage's name; where `ranks`, the number of ranks, is
/// above 1, warnings carry the rank.
void open_log(const std::filesystem::path& path, const std::string& stage, int rank, int ranks = 1,
              std::FILE* stream = stdout);
void say_line(const std::string& line);
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_line(fmt::format(format, std::forward<Args>(args)...));
}
/// The stage whose name lines start with now; "" before `open_log`.
std::string stage_in_log();
/// Prints a warning on stderr, from any rank; rank 0 also appends it to the log.
void warn_line(const std::string& line);

/// The rate and the remaining time of counted work. `due` is true when a line should be printed: the first, the last,
/// and one every few seconds.
class Progress {
public:
  Progress(std::int64_t done, std::int64_t total, double interval_seconds = 5);
  bool due(std::int64_t done);
  double rate(std::int64_t done) const;  ///< units a second since this object was made
  std::string remaining(std::int64_t done) const;

private:
  std::int64_t first_, total_;
  double interval_;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace couplet
