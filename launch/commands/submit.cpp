// couplet submit: every stage that is not complete as a Slurm job, chained by what it needs.
#include "launch/commands/commands.h"
#include "launch/slurm/job_script.h"
#include "launch/slurm/live_jobs.h"

#include "pipeline/config/options.h"
#include "pipeline/process/log.h"
#include "stages/cost/estimate_table.h"
#include "stages/couple/couple.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/plan.h"
#include "stages/run_points.h"
#include "storage/clock.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_lock.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <map>
#include <regex>
#include <sstream>
#include <utility>

namespace couplet {

namespace {

std::string profile_help() {
  std::string text =
      "\nThe cluster profile has keys of [slurm] for all stages, and of [slurm.student] and the like for those of\n"
      "one kind (" +
      kind_names() +
      ").\nEach is a flag too: --slurm.time 12:00:00, --slurm.student.time 2-00:00:00. Without --slurm.profile the\n"
      "profile counts with which the run was submitted before.\n\n";
  for (const ProfileKey& key : profile_keys())
    text += fmt::format("  slurm.{:<34} {}{}\n", key.name + " " + key.value, key.help,
                        key.default_text.empty() ? "" : fmt::format(" (default {})", key.default_text));
  return text;
}

}  // namespace

CommandSyntax submit_syntax() {
  return {
      .name = "submit",
      .arguments = "",
      .summary = "run the whole pipeline as Slurm jobs, or what is left of it",
      .flags = {{"run-dir", "DIR", "where everything of the run is kept; on a file system that all nodes share"},
                {"config", "FILE", "INI file; without it the run's own config.ini, if there is one"},
                {"slurm.profile", "FILE", "what the cluster wants (slurm/*.ini), see below"},
                {"dry-run", "",
                 "print plan, reasons and scripts; needs no Slurm, writes no more than RUN/file-hashes.json"},
                {"scaling", "RANKS", "with --dry-run: how long stages would last on so many ranks: \"8 64 512\""},
                {"machine", "FIGURES", "with --dry-run: of another machine: \"network-bandwidth=25e9 gpus=4\""},
                {"json", "", "with --dry-run: the model of the stages as JSON, and nothing else"},
                {"replace", "", "cancel this run's jobs that wait or run, and take over when they are gone"},
                redo_flag()},
      .takes_keys = true,
      .further_keys = profile_names(),
      .notes =
          "Every stage that is not complete becomes a job, which starts when what it needs has succeeded. At a\n"
          "time limit or preemption a job saves and queues itself again. `couplet status` shows what runs, `couplet\n"
          "cancel` ends it. If jobs were lost, submit again: the run goes on from what is saved.\n\n"
          "--dry-run says what the stages ask of memory, network and files, how long they last and what saturates "
          "first\n"
          "(docs/scaling.md), on a machine of figures that it prints: bytes, seconds and FLOP/s, as --machine takes "
          "them.\n" +
          profile_help()};
}

namespace {

constexpr double end_seconds = 180;  // within which cancelled jobs are gone: Slurm's KillWait, and time to spare

struct SkippedStage {
  std::string name, reason;
};

/// What is to be submitted, checked, with the scripts: whatever is refused is refused before anything is changed.
struct Plan {
  Config config;
  RunDirectory run;
  StageGraph graph;
  Profile profile;
  std::vector<StageNode> redone;
  std::vector<StageJob> jobs;
  std::vector<SkippedStage> skipped;

  SlurmFiles files() const { return SlurmFiles(run); }
  RunView view() const { return {config, run, graph}; }
  /// Which of the jobs this one waits for.
  std::vector<std::string> needs(const StageJob& job) const {
    std::vector<std::string> names;
    for (const StageJob& other : jobs)
      if (job.node.runs_after(other.node.name)) names.push_back(other.node.name);
    return names;
  }
};

Profile read_profile(const CommandLine& line, const std::vector<Setting>& settings, const SlurmFiles& files) {
  std::filesystem::path file = line.get("slurm.profile");
  if (file.empty() && std::filesystem::exists(files.profile())) file = files.profile();
  return {file, settings};
}

Plan make_plan(const CommandLine& line) {
  const RunDirectory run(std::filesystem::absolute(line.required("run-dir")).lexically_normal());
  std::vector<Setting> of_config, of_profile;
  for (const Setting& setting : line.settings())
    (setting.key.starts_with("slurm.") ? of_profile : of_config).push_back(setting);
  std::filesystem::path file = line.get("config");
  if (file.empty() && std::filesystem::exists(run.config())) file = run.config();
  refuse_earlier_form(run);
  Plan plan{resolve_config(file, of_config), run, {}, read_profile(line, of_profile, SlurmFiles(run)), {}, {}, {}};
  plan.graph = stage_graph(plan.config, look_at_inputs(plan.config, run));
  plan.redone = nodes_to_redo(line.all("redo"), plan.graph);
  const std::vector<PlannedStage> stages = plan_stages(plan.view(), plan.redone);
  require_stages(stages, plan.view(), 0);
  const std::string job_template = read_file(find_job_template());
  for (const auto& [node, decision] : stages) {
    if (decision.action == Action::skip) {
      plan.skipped.push_back({node.name, decision.reason});
      continue;
    }
    check_profile(plan.profile, node, plan.config);
    const std::int64_t array = is_made_in_parts(plan.config, node) ? plan.config.couple.array : 0;
    StageJob job{node, decision.reason, plan.profile.stage(node.kind), array, ""};
    job.script = job_script(job_template, job, run, std::filesystem::current_path());
    plan.jobs.push_back(std::move(job));
  }
  return plan;
}

/// "2 x 4 ranks, 12:00:00"
std::string size_text(const StageJob& job) {
  const StageProfile& profile = job.profile;
  return fmt::format("{}{} x {} ranks{}{}", job.array > 0 ? fmt::format("{} jobs of ", job.array) : "", profile.nodes,
                     profile.tasks_per_node, profile.time.empty() ? "" : ", ", profile.time);
}

void print_plan(const Plan& plan) {
  constexpr const char* row = "{:<26} {:<26} {:<40} {}\n";
  fmt::print(fmt::runtime(row), "stage", "nodes x ranks, limit", "why", "after");
  for (const SkippedStage& stage : plan.skipped) fmt::print(fmt::runtime(row), stage.name, "no job", stage.reason, "");
  for (const StageJob& job : plan.jobs)
    fmt::print(fmt::runtime(row), job.node.name, size_text(job), job.reason, fmt::join(plan.needs(job), ", "));
}

/// The GPUs of a job, or its cores where it has none.
StageDevices devices_of(const StageProfile& profile) {
  if (const std::string& gpus = profile.gpus_per_node; !gpus.empty())
    return {true, profile.nodes * std::stoll(gpus.substr(gpus.rfind(':') + 1))};
  return {false, profile.ranks() * std::max<std::int64_t>(1, profile.cpus_per_task)};
}

/// The numbers of ranks that --scaling lists.
std::vector<std::int64_t> listed_ranks(const std::string& text) {
  std::vector<std::int64_t> ranks;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!std::regex_match(word, std::regex("[1-9][0-9]{0,5}")))
      refuse("--scaling '{}': '{}' is no number of ranks; give some, separated by spaces: \"8 64 512\"", text, word);
    ranks.push_back(std::stoll(word));
  }
  if (ranks.empty()) refuse("--scaling '{}': give numbers of ranks, separated by spaces: \"8 64 512\"", text);
  return ranks;
}

/// What the stages ask of machine and network, on the ranks that are listed, or else on those of their jobs.
struct Model {
  Machine machine;
  std::vector<std::int64_t> ranks;  ///< none: those of the jobs
  bool own_nodes = true;            ///< jobs have as many GPUs a node as ranks, whatever the machine has

  std::vector<StagePoint> points(const Plan& plan, const DatasetSize& dataset) const {
    const auto own = [&](const std::string& kind) {
      const StageProfile profile = plan.profile.stage(kind);
      return StageRanks{profile.ranks(), devices_of(profile).gpus, own_nodes ? profile.tasks_per_node : 0};
    };
    if (ranks.empty()) return run_points(plan.config, dataset, plan.graph, own, machine);
    std::vector<StagePoint> all;
    for (const std::int64_t count : ranks)
      for (StagePoint& point : run_points(
               plan.config, dataset, plan.graph,
               [count](const std::string&) {
                 return StageRanks{count, true};
               },
               machine))
        all.push_back(std::move(point));
    std::ranges::stable_sort(all, {}, [&](const StagePoint& point) {
      return std::ranges::find(plan.graph, point.load.stage, &StageNode::name) - plan.graph.begin();
    });
    return all;
  }
};

void print_model(const Plan& plan, const Model& model) {
  fmt::print("{}\n", points_json(model.points(plan, dataset_size(plan.config, plan.run))).dump(2));
}

void print_estimate(const Plan& plan, const Model& model) {
  const auto devices = [&](const std::string& kind) { return devices_of(plan.profile.stage(kind)); };
  try {
    const DatasetSize dataset = dataset_size(plan.config, plan.run);
    const DeviceSpeed gpu{model.machine.bfloat16, model.machine.float32, model.machine.utilisation};
    fmt::print("\n{}", estimate_text(estimate_run(plan.config, dataset, plan.graph), devices, gpu));
    const std::vector<StagePoint> points = model.points(plan, dataset);
    fmt::print("\n{}", model.ranks.empty() ? load_text(points, model.machine) : scaling_text(points, model.machine));
    if (model.ranks.empty() && model.own_nodes)
      fmt::print("nodes: of as many GPUs as the profile has ranks a node, whatever gpus= says\n");
  } catch (const std::exception& error) {
    fmt::print("\nno estimate of hours and disk: {}\n", error.what());  // the plan holds without
  }
}

void print_scripts(const Plan& plan) {
  for (const StageJob& job : plan.jobs)
    fmt::print("\n==> {} <==\n{}", plan.files().script(job.flat()).string(), job.script);
}

/// Makes room: no job of this run is left when this returns.
void make_room(const Plan& plan, bool replace, Scheduler& scheduler) {
  const auto live = live_jobs(plan.files(), scheduler);
  if (live.empty()) return;
  if (!replace) require_no_jobs(live, plan.files(), ", or add --replace");
  say("cancelling: {}", jobs_text(live));
  cancel_jobs(live, plan.files(), scheduler, "couplet submit --replace");
  wait_for_end(plan.files(), scheduler, end_seconds);
}

/// What an earlier submission counted and noted, also by tasks of an array, does not count for this one.
void forget(const StageJob& job, const SlurmFiles& files) {
  const std::regex name(job.flat() + (job.node.table.empty() ? "" : "(-[0-9]+)?") +
                        "\\.(requeues|retries|reason|note|cancelled)");
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(files.directory()))
    if (std::regex_match(entry.path().filename().string(), name)) old.push_back(entry.path());
  for (const auto& path : old) std::filesystem::remove(path);
}

/// Configuration, profile and scripts.
void publish_run(const Plan& plan) {
  const SlurmFiles files = plan.files();
  const FileLock lock(plan.run.lock(), LockMode::exclusive, "run directory " + plan.run.root().string(),
                      orphan_seconds);
  remove_leftovers(plan.run.root());
  remove_leftovers(files.directory());
  publish_file(plan.run.config(), to_ini(plan.config, true, plan.run.root()));
  publish_file(files.profile(), plan.profile.to_ini());
  delete_stages(plan.redone, plan.view());
  for (const StageJob& job : plan.jobs) {
    forget(job, files);
    publish_file(files.script(job.flat()), job.script);
    std::filesystem::permissions(files.script(job.flat()), std::filesystem::perms::owner_exec,
                                 std::filesystem::perm_options::add);
  }
}

SubmittedJob submit_job(const Plan& plan, const StageJob& job, const std::map<std::string, std::string>& ids,
                        Scheduler& scheduler) {
  const SlurmFiles files = plan.files();
  SubmittedJob submitted;
  submitted.stage = job.node.name;
  submitted.array = job.array;
  submitted.script = files.script(job.flat()).string();
  submitted.output = files.output(job.flat(), job.array > 0);
  submitted.launcher = job.profile.launcher;
  for (const std::string& name : plan.needs(job)) submitted.after.push_back(ids.at(name));
  std::vector<std::string> words;
  if (!submitted.after.empty())
    words = {fmt::format("--dependency=afterok:{}", fmt::join(submitted.after, ":")), "--kill-on-invalid-dep=yes"};
  words.push_back(submitted.script);
  submitted.job = scheduler.submit(words);
  submitted.time = unix_now();
  return submitted;
}

/// All jobs or none: what was queued before one is refused is cancelled.
void submit_jobs(const Plan& plan, Scheduler& scheduler) {
  std::int64_t submission = 0;
  for (const SubmittedJob& job : read_jobs(plan.files())) submission = std::max(submission, job.submission);
  std::map<std::string, std::string> ids;
  std::vector<LiveJob> queued;
  for (const StageJob& job : plan.jobs) {
    try {
      LiveJob live{submit_job(plan, job, ids, scheduler), {}};
      live.submitted.submission = submission + 1;
      queued.push_back(live);
      append_job(plan.files(), live.submitted);
      ids[job.node.name] = live.submitted.job;
      say("{}: job {}", job.node.name, live.submitted.job);
    } catch (const Error& error) {
      if (queued.empty()) throw;
      say("cancelling the {} jobs that are queued already", queued.size());
      cancel_jobs(queued, plan.files(), scheduler, "couplet submit, which failed half-way");
      fail("stage {}: {}; the {} jobs that were queued before it are cancelled", job.node.name, error.what(),
           queued.size());
    }
  }
}

/// Sites and users set defaults for sbatch in variables, by which a job would not be what its script says.
void warn_of_unused_variables() {
  std::vector<std::string> names;
  for (char** variable = environ; *variable; ++variable)
    if (const std::string text(*variable); text.starts_with("SBATCH_")) names.push_back(text.substr(0, text.find('=')));
  if (!names.empty())
    warn_line(
        fmt::format("{} of this shell is not used: a job asks for what the cluster profile says (slurm.account "
                    "and the like)",
                    fmt::join(names, ", ")));
}

void submit(const Plan& plan, bool replace) {
  Scheduler scheduler(30);
  if (!scheduler.installed())
    fail(
        "sbatch and squeue were not found in PATH; submit on a cluster's login node, or look at the plan with "
        "--dry-run");
  std::error_code error;
  for (const auto& path : {plan.files().directory(), plan.run.log()})
    if (std::filesystem::create_directories(path, error); error)
      fail("cannot make {}: {}", path.string(), error.message());
  look_at_inputs(plan.config, plan.run);  // what was found out of files is kept, now that there is a place
  const FileLock lock(plan.files().lock(), LockMode::exclusive, "the job list of " + plan.run.root().string());
  make_room(plan, replace, scheduler);
  publish_run(plan);
  submit_jobs(plan, scheduler);
  say("{} jobs; couplet status {} shows them", plan.jobs.size(), plan.run.root().string());
}

}  // namespace

int submit_command(const std::vector<std::string>& words) {
  const CommandLine line(submit_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(submit_syntax()));
    return exit_ok;
  }
  const Plan plan = make_plan(line);
  const std::string figures = line.get("machine");
  const Model model{parse_machine(figures),
                    line.has("scaling") ? listed_ranks(line.get("scaling")) : std::vector<std::int64_t>(),
                    figures.find("gpus=") == figures.npos};
  for (const char* flag : {"machine", "scaling", "json"})
    if (line.has(flag) && !line.has("dry-run"))
      refuse("--{} is for couplet submit --dry-run, which submits nothing", flag);
  if (line.has("json")) {
    print_model(plan, model);
    return exit_ok;
  }
  say_idle_sections(plan.config);
  warn_of_unused_variables();
  print_plan(plan);
  if (line.has("dry-run")) {
    print_estimate(plan, model);
    print_scripts(plan);
  } else if (plan.jobs.empty()) {
    say("everything is complete: no job is needed");
  } else {
    submit(plan, line.has("replace"));
  }
  return exit_ok;
}

}  // namespace couplet
