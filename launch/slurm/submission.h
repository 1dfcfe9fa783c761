// The files in RUN/slurm: the scripts and ids of the jobs that were submitted for a run, and the small files in which
// the job scripts count and explain.
#pragma once

#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// A job as it was submitted, which is one line of jobs.jsonl.
struct SubmittedJob {
  double time = 0;                 ///< Unix time
  std::string stage;               ///< "student/nf-0"
  std::string job;                 ///< Slurm's id
  std::int64_t array = 0;          ///< tasks; 0: no array
  std::string script;              ///< the script's file
  std::string output;              ///< the file of its launcher's output, with Slurm's %j, %A, %a
  std::string launcher;            ///< "srun" or "mpirun"
  std::vector<std::string> after;  ///< ids of the jobs that must succeed first
  std::int64_t submission = 0;     ///< the number of the `couplet submit`, from 1, that submitted it
};

/// The names inside RUN/slurm.
class SlurmFiles {
public:
  explicit SlurmFiles(const RunDirectory& run) : root_(run.root() / "slurm"), log_(run.log()) {}
  const std::filesystem::path& directory() const { return root_; }
  std::filesystem::path lock() const { return root_ / "lock"; }
  std::filesystem::path profile() const { return root_ / "profile.ini"; }
  std::filesystem::path jobs() const { return root_ / "jobs.jsonl"; }
  // Of a stage or a task of its array, by flat name ("student-nf-0", "coupling-nf-3"):
  std::filesystem::path script(const std::string& flat) const { return root_ / (flat + ".sh"); }
  std::filesystem::path requeues(const std::string& flat) const { return root_ / (flat + ".requeues"); }
  std::filesystem::path retries(const std::string& flat) const { return root_ / (flat + ".retries"); }
  std::filesystem::path reason(const std::string& flat) const { return root_ / (flat + ".reason"); }
  std::filesystem::path note(const std::string& flat) const { return root_ / (flat + ".note"); }
  std::filesystem::path cancelled(const std::string& flat) const { return root_ / (flat + ".cancelled"); }
  /// Slurm's pattern for the output: log/slurm-student-nf-0-%j.out; of an array's tasks
  /// log/slurm-coupling-nf-%a-%A.out.
  std::string output(const std::string& flat, bool array) const {
    return (log_ / ("slurm-" + flat + (array ? "-%a-%A.out" : "-%j.out"))).string();
  }

private:
  std::filesystem::path root_, log_;
};

/// Reads all lines of jobs.jsonl, oldest first; there are none if there is no such file. A line that a killed writer
/// left unfinished is left out.
std::vector<SubmittedJob> read_jobs(const SlurmFiles& files);
/// Returns the last line of each stage, which is the one that counts, in the order of the stages' first submission.
std::vector<SubmittedJob> current_jobs(const std::vector<SubmittedJob>& all);
/// Adds a line, which is on the disk when this returns.
void append_job(const SlurmFiles& files, const SubmittedJob& job);

}  // namespace couplet
