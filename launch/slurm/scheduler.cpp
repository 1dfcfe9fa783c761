#include "launch/slurm/scheduler.h"

#include "launch/local/captured_command.h"
#include "launch/local/child_process.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <ctime>
#include <sstream>
#include <string_view>

namespace couplet {

namespace {

constexpr char separator = '\x1f';  // ASCII's own for units: in no name, node list or reason
constexpr double action_seconds = 60;

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

/// Slurm's words for nothing.
std::string known(const std::string& text) {
  constexpr std::array nothing{"N/A", "None", "(null)", "Unknown", "None assigned", "NONE"};
  return std::ranges::find(nothing, text) == nothing.end() ? text : "";
}

/// The rows of a command's answer, each of `columns` fields; other lines (banners of wrappers) are passed over.
std::vector<std::vector<std::string>> rows(const std::string& text, std::size_t columns) {
  std::vector<std::vector<std::string>> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, separator);) fields.push_back(trimmed(field));
    if (fields.size() + 1 == columns && line.ends_with(separator)) fields.emplace_back();
    if (fields.size() >= columns) found.push_back(std::move(fields));
  }
  return found;
}

std::int64_t whole_number(const std::string& text, std::int64_t otherwise) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : otherwise;
}

/// Seconds of "5:09", "1:05:09" or "2-01:05:09"; -1 for anything else (UNLIMITED, NOT_SET, INVALID).
double seconds_of(const std::string& text) {
  std::int64_t days = 0, seconds = 0;
  std::string clock = text;
  if (const auto dash = text.find('-'); dash != std::string::npos) {
    days = whole_number(text.substr(0, dash), -1);
    clock = text.substr(dash + 1);
  }
  std::istringstream parts(clock);
  int count = 0;
  for (std::string part; std::getline(parts, part, ':'); ++count) {
    const std::int64_t number = whole_number(part, -1);
    if (number < 0 || days < 0) return -1;
    seconds = seconds * 60 + number;
  }
  return count < 2 ? -1 : static_cast<double>(days * 86400 + seconds);
}

/// Of "2026-01-02T03:04:05", local time; 0 for anything else.
double unix_time(const std::string& text) {
  std::tm local{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &local);
  if (!end || *end != '\0') return 0;
  local.tm_isdst = -1;
  return static_cast<double>(std::mktime(&local));
}

/// "NAME=" of the variables by which the submitting shell speaks for its own job, or for all jobs: sbatch would prefer
/// them to what a script asks for, and hand them on to the job, whose srun would obey them. What says where Slurm is
/// stays.
std::vector<std::string> names_of_other_jobs() {
  constexpr std::array prefixes{"SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_"};
  constexpr std::array kept{"SLURM_CONF=", "SLURM_CLUSTERS=", "SLURM_JWT="};
  std::vector<std::string> names;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text(*variable);
    const std::string name(text.substr(0, text.find('=') + 1));
    const bool is_theirs = std::ranges::any_of(prefixes, [&](const char* prefix) { return name.starts_with(prefix); });
    if (is_theirs && std::ranges::find(kept, name) == kept.end()) names.push_back(name);
  }
  return names;
}

/// The last line a command said, without its own name in front: what was wrong.
std::string last_words(const CapturedCommand& done) {
  std::string last;
  std::istringstream lines(done.errors.empty() ? done.output : done.errors);
  for (std::string line; std::getline(lines, line);)
    if (const std::string words = trimmed(line); !words.empty()) last = words;
  return last.empty() ? fmt::format("exit status {}", done.status) : last;
}

std::string failure_of(const std::string& program, const CapturedCommand& done, double patience) {
  if (done.timed_out) return fmt::format("{} has not answered within {}", program, duration_text(patience));
  const std::string words = last_words(done);
  return words.starts_with(program) ? words : fmt::format("{}: {}", program, words);
}

bool names_no_job(const CapturedCommand& done) {
  return done.errors.find("Invalid job id") != std::string::npos;
}

/// All that scancel complains of is that jobs are over.
bool only_of_ended_jobs(const std::string& errors) {
  std::istringstream lines(errors);
  for (std::string line; std::getline(lines, line);)
    if (line.find("Invalid job id") == std::string::npos && line.find("already complet") == std::string::npos)
      return false;
  return !errors.empty();
}

QueuedJob queued_job(const std::vector<std::string>& fields) {
  QueuedJob job;
  job.id = fields[0];
  job.array_task = known(fields[1]);
  job.state = fields[2];
  job.reason = known(fields[3]);
  job.nodes = known(fields[4]);
  job.start = unix_time(fields[5]);
  job.seconds_left = seconds_of(fields[6]);
  job.restarts = whole_number(fields[7], 0);
  return job;
}

AccountedJob accounted_job(const std::vector<std::string>& fields) {
  AccountedJob job;
  const auto underscore = fields[0].find('_');
  job.id = fields[0].substr(0, underscore);
  if (underscore != std::string::npos) job.array_task = fields[0].substr(underscore + 1);
  job.state = fields[1].substr(0, fields[1].find(' '));  // "CANCELLED by 1000"
  return job;
}

}  // namespace

bool QueuedJob::over() const {
  constexpr std::array states{"BOOT_FAIL", "CANCELLED", "COMPLETED",     "DEADLINE",  "FAILED",
                              "NODE_FAIL", "REVOKED",   "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"};
  return std::ranges::find(states, state) != states.end();
}

bool Scheduler::installed() const {
  return !find_on_path("sbatch").empty() && !find_on_path("squeue").empty();
}

std::optional<std::vector<QueuedJob>> Scheduler::queue(const std::vector<std::string>& ids) {
  ended_.clear();
  why_.clear();
  std::vector<QueuedJob> jobs;
  if (ids.empty()) return jobs;
  // Sizes bound what squeue would otherwise cut at 20 characters.
  constexpr std::array fields{"ArrayJobID:32", "ArrayTaskID:32", "State:32",    "Reason:256",
                              "NodeList:4096", "StartTime:32",   "TimeLeft:32", "RestartCnt:16"};
  const std::string format = fmt::format("{}", fmt::join(fields, fmt::format("{},", separator)));
  const CapturedCommand done = run_captured({"squeue", "--noheader", "--all", "--array", "--states=all",
                                             fmt::format("--jobs={}", fmt::join(ids, ",")), "--Format=" + format},
                                            patience_, {"SQUEUE_", "SLURM_TIME_FORMAT"});
  if (done.status != 0 && !names_no_job(done)) {
    why_ = failure_of("squeue", done, patience_);
    return std::nullopt;
  }
  for (const auto& row : rows(done.output, fields.size())) {
    const QueuedJob job = queued_job(row);
    (job.over() ? ended_ : jobs).push_back(job);
  }
  return jobs;
}

std::optional<std::vector<AccountedJob>> Scheduler::accounting(const std::vector<std::string>& ids) {
  why_.clear();
  std::vector<AccountedJob> jobs;
  if (ids.empty()) return jobs;
  const CapturedCommand done =
      run_captured({"sacct", "--noheader", "--parsable2", "--allocations", fmt::format("--delimiter={}", separator),
                    fmt::format("--jobs={}", fmt::join(ids, ",")), "--format=JobID,State"},
                   patience_, {"SACCT_"});
  if (done.status != 0 || done.errors.find("disabled") != std::string::npos) {
    why_ = failure_of("sacct", done, patience_);
    return std::nullopt;
  }
  for (const auto& row : rows(done.output, 2)) jobs.push_back(accounted_job(row));
  return jobs;
}

std::string Scheduler::submit(const std::vector<std::string>& arguments) {
  why_.clear();
  std::vector<std::string> words{"sbatch", "--parsable"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const CapturedCommand done = run_captured(words, action_seconds, names_of_other_jobs());
  if (done.timed_out)
    fail("sbatch has not answered within {}, so that the job may be queued or not: see squeue, and submit again",
         duration_text(action_seconds));
  if (done.status != 0) fail("{}", failure_of("sbatch", done, action_seconds));
  // "123" or "123;cluster", below what a site's own plugins may print.
  std::string id;
  std::istringstream lines(done.output);
  for (std::string line; std::getline(lines, line);) {
    const std::string word = trimmed(line.substr(0, line.find(';')));
    if (!word.empty() && std::ranges::all_of(word, [](unsigned char c) { return std::isdigit(c) != 0; })) id = word;
  }
  if (id.empty()) fail("sbatch printed no job id, but \"{}\"", trimmed(done.output));
  return id;
}

bool Scheduler::cancel(const std::vector<std::string>& ids) {
  why_.clear();
  if (ids.empty()) return true;
  std::vector<std::string> words{"scancel"};
  words.insert(words.end(), ids.begin(), ids.end());
  const CapturedCommand done = run_captured(words, action_seconds, {"SCANCEL_"});
  // Jobs that are over are errors to some versions; the others are cancelled all the same.
  if (done.status != 0 && !only_of_ended_jobs(done.errors)) why_ = failure_of("scancel", done, action_seconds);
  return why_.empty();
}

bool Scheduler::signal(const std::string& id, const std::string& signal, SignalTarget target) {
  why_.clear();
  std::vector<std::string> words{"scancel", "--signal=" + signal};
  if (target == SignalTarget::batch) words.emplace_back("--batch");
  words.push_back(id);
  const CapturedCommand done = run_captured(words, action_seconds, {"SCANCEL_"});
  if (done.status != 0) why_ = failure_of("scancel", done, action_seconds);
  return done.status == 0;
}

}  // namespace couplet
