#include "launch/slurm/submission.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>

namespace couplet {

std::vector<SubmittedJob> read_jobs(const SlurmFiles& files) {
  std::vector<SubmittedJob> jobs;
  std::ifstream file(files.jobs());
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("stage") || !json.contains("job")) continue;
    SubmittedJob job;
    job.time = json.value("time", 0.0);
    job.stage = json.value("stage", "");
    job.job = json.value("job", "");
    if (const auto array = json.find("array"); array != json.end() && array->is_number()) array->get_to(job.array);
    job.script = json.value("script", "");
    job.output = json.value("output", "");
    job.launcher = json.value("launcher", "");
    job.after = json.value("after", std::vector<std::string>{});
    job.submission = json.value("submission", std::int64_t{0});
    jobs.push_back(job);
  }
  return jobs;
}

std::vector<SubmittedJob> current_jobs(const std::vector<SubmittedJob>& all) {
  std::vector<SubmittedJob> current;
  for (const SubmittedJob& job : all) {
    const auto found = std::ranges::find(current, job.stage, &SubmittedJob::stage);
    if (found == current.end())
      current.push_back(job);
    else
      *found = job;
  }
  return current;
}

void append_job(const SlurmFiles& files, const SubmittedJob& job) {
  const nlohmann::ordered_json json{
      {"time", job.time},
      {"stage", job.stage},
      {"job", job.job},
      {"array", job.array > 0 ? nlohmann::ordered_json(job.array) : nlohmann::ordered_json(nullptr)},
      {"script", job.script},
      {"output", job.output},
      {"launcher", job.launcher},
      {"after", job.after},
      {"submission", job.submission}};
  // Begins with a line break if a killed writer left its line unfinished.
  const std::string path = files.jobs().string();
  std::ifstream before(path, std::ios::ate);
  const bool unfinished = before && before.tellg() > 0 && (before.seekg(-1, std::ios::end), before.get() != '\n');
  const std::string line = (unfinished ? "\n" : "") + json.dump() + "\n";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const bool written =
      file >= 0 && ::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && ::fsync(file) == 0;
  const int reason = errno;
  if (file >= 0) ::close(file);
  if (!written) fail("cannot note job {} of stage {} in {}: {}", job.job, job.stage, path, errno_text(reason));
}

}  // namespace couplet
