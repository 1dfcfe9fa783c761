#include "launch/slurm/submitted_jobs.h"

#include "storage/files/text_tail.h"
#include "storage/filesystem.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <regex>

namespace couplet {

namespace {

std::int64_t number_in(const fs::path& path) {
  const std::string text = first_line(path);
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// The names of the files of a job: of its own, or of each task of its array.
std::vector<std::string> file_names(const SubmittedJob& job) {
  const std::string flat = flat_name(job.stage);
  std::vector<std::string> names;
  for (std::int64_t task = 0; task < job.array; ++task) names.push_back(fmt::format("{}-{}", flat, task));
  if (names.empty()) names.push_back(flat);
  return names;
}

void read_notes(const SlurmFiles& files, StageJobView& view) {
  const std::string flat = flat_name(view.submitted.stage);
  view.cancelled = first_line(files.cancelled(flat));
  if (view.cancelled.empty() && fs::exists(files.cancelled(flat))) view.cancelled = "cancelled";
  for (const std::string& name : file_names(view.submitted)) {
    view.requeues += number_in(files.requeues(name));
    view.retries += number_in(files.retries(name));
    const bool in_queue = std::ranges::any_of(view.queued, [&](const QueuedJob& job) {
      return job.array_task.empty() || name == flat + "-" + job.array_task;
    });
    // A task that goes on is no reason for the others' end.
    if (auto end = read_job_end(files.reason(name)); end && (!view.end || !in_queue)) view.end = std::move(end);
  }
}

/// Those files of a folder whose names match, oldest first.
std::vector<fs::path> matching_files(const fs::path& folder, const std::regex& names) {
  std::vector<std::pair<double, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (const std::string name = entry.path().filename().string(); name.starts_with("slurm-"))
      if (std::regex_match(name, names)) found.emplace_back(changed_at(entry.path()), entry.path());
  std::ranges::sort(found);
  std::vector<fs::path> paths;
  for (auto& [changed, path] : found) paths.push_back(std::move(path));
  return paths;
}

template <class Job>
void hand_out(const std::vector<Job>& jobs, std::map<std::string, StageJobView>& views,
              std::vector<Job> StageJobView::*list) {
  for (const Job& job : jobs)
    for (auto& [stage, view] : views)
      if (view.submitted.job == job.id) (view.*list).push_back(job);
}

}  // namespace

std::string StageJobView::name() const {
  return submitted.array > 0 ? fmt::format("{}_[0-{}]", submitted.job, submitted.array - 1) : submitted.job;
}

std::string StageJobView::nodes() const {
  std::vector<std::string> all;
  for (const QueuedJob& job : queued)
    if (!job.nodes.empty() && std::ranges::find(all, job.nodes) == all.end()) all.push_back(job.nodes);
  return fmt::format("{}", fmt::join(all, ","));
}

SubmittedJobs::SubmittedJobs(const RunDirectory& run, Scheduler* scheduler,
                             const std::function<bool(const std::string& stage)>& unfinished) {
  const SlurmFiles files(run);
  const auto all = read_jobs(files);
  for (const SubmittedJob& job : all) stages_[job.job] = job.stage;
  for (const SubmittedJob& job : current_jobs(all)) views_[job.stage].submitted = job;
  if (scheduler) ask(*scheduler, unfinished);
  for (auto& [stage, view] : views_) read_notes(files, view);
}

void SubmittedJobs::ask(Scheduler& scheduler, const std::function<bool(const std::string&)>& unfinished) {
  std::vector<std::string> ids;
  for (const auto& [stage, view] : views_)
    if (unfinished(stage)) ids.push_back(view.submitted.job);
  if (ids.empty()) return;
  if (!scheduler.installed()) {
    silence_ = "Slurm is not installed here";
    return;
  }
  const auto queued = scheduler.queue(ids);
  if (queued) {
    for (auto& [stage, view] : views_) view.answered = unfinished(stage);
    hand_out(*queued, views_, &StageJobView::queued);
    hand_out(scheduler.ended(), views_, &StageJobView::ended);
  } else {
    silence_ = scheduler.why();
  }
  std::vector<std::string> unknown;
  for (const auto& [stage, view] : views_)
    if (unfinished(stage) && view.queued.empty() && view.ended.empty()) unknown.push_back(view.submitted.job);
  if (const auto accounted = scheduler.accounting(unknown)) hand_out(*accounted, views_, &StageJobView::accounted);
}

const StageJobView* SubmittedJobs::of(const std::string& stage) const {
  const auto found = views_.find(stage);
  return found == views_.end() ? nullptr : &found->second;
}

std::string SubmittedJobs::stage_of(const std::string& job) const {
  const auto found = stages_.find(job);
  return found == stages_.end() ? "" : found->second;
}

std::vector<fs::path> job_outputs(const RunDirectory& run, const std::string& stage) {
  // Of submissions whose lines are lost, too.
  return matching_files(run.log(), std::regex("slurm-" + flat_name(stage) + "(-\\d+)?-\\d+\\.out"));
}

std::vector<fs::path> submission_outputs(const RunDirectory& run, const SubmittedJob& job) {
  return matching_files(run.log(), std::regex("slurm-" + flat_name(job.stage) + "(-\\d+)?-" + job.job + "\\.out"));
}

}  // namespace couplet
