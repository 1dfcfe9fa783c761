#include "launch/slurm/job_script.h"

#include "pipeline/distributed/make_communicator.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace couplet {

namespace {

std::filesystem::path own_program() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

/// One word for the shell in which variables count: the profile's texts hold neither quotes nor backslashes.
std::string expanded(const std::string& text) {
  return text.empty() ? "''" : "\"" + text + "\"";
}

std::vector<std::string> split(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

/// "fashion-student-nf-0": the name of the run's directory tells a user's runs apart in squeue.
std::string job_name(const StageJob& job, const RunDirectory& run) {
  const std::filesystem::path& root = run.root();
  const std::filesystem::path name = root.has_filename() ? root.filename() : root.parent_path().filename();
  return fmt::format("{}-{}", name.string(), job.flat());
}

/// What stands behind #SBATCH on a line of its own.
std::vector<std::string> requests(const StageJob& job, const RunDirectory& run,
                                  const std::filesystem::path& directory) {
  const StageProfile& profile = job.profile;
  std::vector<std::string> lines{fmt::format("--job-name=\"{}\"", job_name(job, run)),
                                 fmt::format("--output=\"{}\"", SlurmFiles(run).output(job.flat(), job.array > 0)),
                                 fmt::format("--chdir=\"{}\"", directory.string()),
                                 fmt::format("--nodes={}", profile.nodes),
                                 fmt::format("--ntasks-per-node={}", profile.tasks_per_node)};
  const auto add = [&lines](const char* option, const std::string& value) {
    if (!value.empty()) lines.push_back(fmt::format("--{}={}", option, value));
  };
  if (job.array > 0) add("array", fmt::format("0-{}", job.array - 1));
  if (profile.cpus_per_task > 0) add("cpus-per-task", fmt::format("{}", profile.cpus_per_task));
  add("gpus-per-node", profile.gpus_per_node);
  add("mem", profile.memory);
  add("time", profile.time);
  add("partition", profile.partition);
  add("account", profile.account);
  add("qos", profile.qos);
  if (!profile.constraint.empty()) add("constraint", "\"" + profile.constraint + "\"");
  // srun's ranks are signalled by Slurm; with mpirun the script is, and hands it on.
  const char* whom = profile.launcher == "srun" ? "" : "B:";
  add("signal", fmt::format("{}USR1@{}", whom, profile.signal_lead));
  if (!profile.sbatch.empty()) lines.push_back(profile.sbatch);
  return lines;
}

/// The words that start all ranks of a job.
std::string launch_words(const StageProfile& profile) {
  std::vector<std::string> words;
  if (profile.launcher == "srun") {
    words = {"srun",
             "--mpi=" + profile.mpi,
             "--kill-on-bad-exit=1",
             fmt::format("--nodes={}", profile.nodes),
             fmt::format("--ntasks={}", profile.ranks()),
             fmt::format("--ntasks-per-node={}", profile.tasks_per_node)};
    // srun does not take it over from sbatch (since 22.05).
    if (profile.cpus_per_task > 0) words.push_back(fmt::format("--cpus-per-task={}", profile.cpus_per_task));
  } else if (!is_open_mpi()) {  // Hydra hands the environment on by itself
    words = {"mpirun",
             "-bind-to",
             "none",
             "-ppn",
             fmt::format("{}", profile.tasks_per_node),
             "-n",
             fmt::format("{}", profile.ranks())};
  } else {
    words = {"mpirun",
             "--bind-to",
             "none",
             "--map-by",
             fmt::format("ppr:{}:node", profile.tasks_per_node),
             "-n",
             fmt::format("{}", profile.ranks())};
    for (const std::string& setting : split(profile.environment))
      words.insert(words.end(), {"-x", setting.substr(0, setting.find('='))});
  }
  return fmt::format("{}{}{}", fmt::join(words, " "), profile.launcher_options.empty() ? "" : " ",
                     profile.launcher_options);
}

std::string program_words(const StageProfile& profile) {
  const std::string program = profile.program.empty() ? quoted(own_program().string()) : expanded(profile.program);
  return profile.container.empty() ? program : profile.container + " " + program;
}

std::string exports(const StageProfile& profile) {
  std::string lines;
  for (const std::string& setting : split(profile.environment)) {
    const auto equals = setting.find('=');
    lines += fmt::format("export {}={}\n", setting.substr(0, equals), expanded(setting.substr(equals + 1)));
  }
  return lines + profile.setup;
}

/// Refuses a path that a script, or a record of its job, could not name.
void require_nameable(const std::filesystem::path& path) {
  const std::string name = utf8_text(path.string());
  if (name != path.string())
    refuse("{} holds bytes that are no UTF-8, which records of jobs cannot name; choose another directory", name);
  if (name.find_first_of("\"'\\`$%\n") != std::string::npos)
    refuse("{} holds a quote, a backslash, `, $ or %, which a job script cannot name; choose another directory", name);
}

std::map<std::string, std::string> values_of(const StageJob& job, const RunDirectory& run,
                                             const std::filesystem::path& directory) {
  const StageProfile& profile = job.profile;
  std::string requested;
  for (const std::string& line : requests(job, run, directory)) requested += "#SBATCH " + line + "\n";
  requested.pop_back();
  const auto number = [](std::int64_t value) { return fmt::format("{}", value); };
  return {{"TITLE", fmt::format("Stage {} of a run of Couplet, as a Slurm job.", job.node.name)},
          {"SBATCH", requested},
          {"STAGE", quoted(job.node.name)},
          {"FLAT", quoted(job.flat())},
          {"RUN", quoted(run.root().string())},
          {"TASKS", job.array > 0 ? number(job.array) : ""},
          {"CLUSTER_REQUEUES", profile.cluster_requeues ? "true" : "false"},
          {"MAX_REQUEUES", number(profile.max_requeues)},
          {"MAX_RETRIES", number(profile.max_retries)},
          {"MODULES", profile.modules},
          {"ENVIRONMENT", exports(profile)},
          {"MEMORY", profile.memory},
          {"SCRATCH_KEY", quoted(profile.scratch)},
          {"SCRATCH", expanded(profile.scratch)},
          {"LAUNCH", launch_words(profile)},
          {"PROGRAM", program_words(profile)}};
}

}  // namespace

std::filesystem::path find_job_template() {
  const auto installed = own_program().parent_path().parent_path() / "share/couplet/slurm/job.sh";
  const std::filesystem::path source = std::filesystem::path(COUPLET_SOURCE_DIR) / "slurm/job.sh";
  for (const auto& path : {installed, source})
    if (std::filesystem::exists(path)) return path;
  fail("the template of the job scripts is neither {} nor {}; install Couplet again (make install PREFIX=...)",
       installed.string(), source.string());
}

std::string job_script(const std::string& text, const StageJob& job, const RunDirectory& run,
                       const std::filesystem::path& directory) {
  for (const auto& path : {run.root(), directory}) require_nameable(path);
  const auto values = values_of(job, run, directory);
  static const std::regex placeholder("@([A-Z_]+)@");
  std::string script;
  auto rest = text.begin();
  std::set<std::string> used;
  for (std::sregex_iterator match(text.begin(), text.end(), placeholder), end; match != end; ++match) {
    const auto value = values.find((*match)[1]);
    if (value == values.end()) fail("the template of the job scripts names {}, which is nothing", match->str());
    script.append(rest, (*match)[0].first).append(value->second);
    rest = (*match)[0].second;
    used.insert(value->first);
  }
  script.append(rest, text.end());
  for (const auto& [name, value] : values)
    if (!used.contains(name)) fail("the template of the job scripts lacks @{}@", name);
  return script;
}

}  // namespace couplet
