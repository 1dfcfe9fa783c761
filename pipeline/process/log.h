// What a user reads while a stage runs: whole lines from one rank on stdout and in the stage's log.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace couplet {

/// Sends `say` of this process to stdout (or `stream`, where stdout is for results) and, appending, to `path`; only
/// rank 0 says anything. Lines start with the stage's name. `ranks` is their number: with several, warnings carry the
/// rank. An empty path: no file.
void open_log(const std::filesystem::path& path, const std::string& stage, int rank, int ranks = 1,
              std::FILE* stream = stdout);
void say_line(const std::string& line);
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_line(fmt::format(format, std::forward<Args>(args)...));
}
/// The stage whose name lines start with now; "" before `open_log`.
std::string stage_in_log();
/// To stderr from any rank, with the rank in front when there are several.
void warn_line(const std::string& line);

/// Rate and remaining time of counted work; `due` is true when a line should be printed (first, last, every few
/// seconds).
class Progress {
public:
  Progress(std::int64_t done, std::int64_t total, double interval_seconds = 5);
  bool due(std::int64_t done);
  double rate(std::int64_t done) const;  ///< units a second since construction
  std::string remaining(std::int64_t done) const;

private:
  std::int64_t first_, total_;
  double interval_;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace couplet
