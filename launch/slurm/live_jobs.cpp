#include "launch/slurm/live_jobs.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace couplet {

std::string LiveJob::text() const {
  const std::string nodes = queued.empty() || queued[0].nodes.empty() ? "" : " on " + queued[0].nodes;
  const std::string tasks = queued.size() > 1 ? fmt::format(", {} tasks", queued.size()) : "";
  return fmt::format("{} (job {}{}, {}{})", submitted.stage, submitted.job, tasks,
                     queued.empty() ? "" : queued[0].state, nodes);
}

std::vector<LiveJob> live_jobs(const SlurmFiles& files, Scheduler& scheduler) {
  const std::vector<SubmittedJob> jobs = current_jobs(read_jobs(files));
  if (jobs.empty()) return {};
  std::vector<std::string> ids;
  for (const SubmittedJob& job : jobs) ids.push_back(job.job);
  const auto queue = scheduler.queue(ids);
  if (!queue)
    fail("Slurm does not say which jobs of {} wait or run ({}); try again when it answers",
         files.directory().parent_path().string(), scheduler.why());
  std::vector<LiveJob> live;
  for (const SubmittedJob& job : jobs) {
    LiveJob found{job, {}};
    for (const QueuedJob& queued : *queue)
      if (queued.id == job.job) found.queued.push_back(queued);
    if (!found.queued.empty()) live.push_back(found);
  }
  return live;
}

std::string jobs_text(const std::vector<LiveJob>& jobs) {
  std::vector<std::string> texts;
  for (const LiveJob& job : jobs) texts.push_back(job.text());
  return fmt::format("{}", fmt::join(texts, ", "));
}

void require_no_jobs(const std::vector<LiveJob>& jobs, const SlurmFiles& files, const std::string& other_way) {
  const std::string run = files.directory().parent_path().string();
  if (!jobs.empty())
    refuse("{} has jobs that wait or run: {}; wait for them, or cancel them (couplet cancel {}){}", run,
           jobs_text(jobs), run, other_way);
}

void cancel_jobs(const std::vector<LiveJob>& jobs, const SlurmFiles& files, Scheduler& scheduler,
                 const std::string& who) {
  std::vector<std::string> ids;
  const std::string mark = fmt::format("{} by {}\n", local_time_text(unix_now()), who);
  for (const LiveJob& job : jobs) {
    publish_file(files.cancelled(flat_name(job.submitted.stage)), mark);
    ids.push_back(job.submitted.job);
  }
  if (!ids.empty() && !scheduler.cancel(ids))
    fail(
        "scancel {} failed ({}); these jobs are marked as cancelled and will not queue themselves again, but go on: "
        "try again",
        fmt::join(ids, " "), scheduler.why());
}

void wait_for_end(const SlurmFiles& files, Scheduler& scheduler, double seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (auto left = live_jobs(files, scheduler); !left.empty(); left = live_jobs(files, scheduler)) {
    if (std::chrono::steady_clock::now() >= deadline)
      fail("{} is still there {} after it was cancelled; wait for it to end, then try again", left[0].text(),
           duration_text(seconds));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

}  // namespace couplet
