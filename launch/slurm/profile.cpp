#include "launch/slurm/profile.h"

#include "pipeline/config/validation.h"
#include "stages/kinds.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <regex>
#include <sstream>
#include <string_view>
#include <variant>

namespace couplet {

namespace {

using Target = std::variant<std::string StageProfile::*, std::int64_t StageProfile::*, bool StageProfile::*>;

/// A key, where its value goes, and what is allowed.
struct Rule {
  ProfileKey key;
  Target target;
  std::string pattern = {};   ///< of texts that are not empty
  std::string expected = {};  ///< the pattern in words
  std::int64_t minimum = 0, maximum = 0;
};

constexpr const char* word = "[A-Za-z0-9_.,:@/+-]+";
constexpr const char* word_text = "a name without spaces";
constexpr const char* plain = "[^\"\\\\`]+";
constexpr const char* plain_text = "text without quotes and backslashes";

std::vector<Rule> request_rules() {
  using P = StageProfile;
  return {{{"partition", "NAME", "", "partition, or several separated by commas"}, &P::partition, word, word_text},
          {{"account", "NAME", "", "account that is charged"}, &P::account, word, word_text},
          {{"qos", "NAME", "", "quality of service"}, &P::qos, word, word_text},
          {{"constraint", "FEATURES", "", "features of the nodes, as sbatch --constraint takes them"},
           &P::constraint,
           "[A-Za-z0-9_.,:&|*()\\[\\]+-]+",
           "features joined by & or |"},
          {{"nodes", "N", "1", "nodes"}, &P::nodes, {}, {}, 1, 100000},
          {{"tasks-per-node", "N", "1", "ranks a node; one a GPU, where there are GPUs"},
           &P::tasks_per_node,
           {},
           {},
           1,
           4096},
          {{"cpus-per-task", "N", "0", "CPUs a rank, and its threads where pipeline.threads is 0; 0: not asked for"},
           &P::cpus_per_task,
           {},
           {},
           0,
           4096},
          {{"gpus-per-node", "N", "", "GPUs a node: 4 or a100:4"},
           &P::gpus_per_node,
           "([A-Za-z0-9_.-]+:)?[1-9][0-9]{0,3}",
           "a number, or type:number"},
          {{"memory", "SIZE", "", "memory a node: 64G; 0: all of it"},
           &P::memory,
           "[0-9]+[KMGT]?",
           "a whole number with K, M, G or T"},
          {{"time", "TIME", "", "time limit: minutes, HH:MM:SS or D-HH:MM:SS"},
           &P::time,
           "([0-9]+-)?[0-9]+(:[0-9]+){0,2}",
           "minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, above 0"},
          {{"sbatch", "OPTIONS", "", "further options of sbatch, which no key is for: --exclusive --mail-type=END"},
           &P::sbatch,
           "--[^\"\\\\`$]+",
           "options that begin with --"}};
}

std::vector<Rule> launch_rules() {
  using P = StageProfile;
  return {
      {{"launcher", "NAME", "srun", "what starts the ranks: srun or mpirun"},
       &P::launcher,
       "srun|mpirun",
       "srun or mpirun"},
      {{"mpi", "NAME", "pmix", "how srun tells the ranks of each other (`srun --mpi=list` lists them)"},
       &P::mpi,
       word,
       word_text},
      {{"launcher-options", "WORDS", "", "further words for srun or mpirun"}, &P::launcher_options, plain, plain_text},
      {{"modules", "NAMES", "", "environment modules that are loaded first, separated by spaces"},
       &P::modules,
       "[A-Za-z0-9_.+/ -]+",
       "names separated by spaces"},
      {{"environment", "NAME=VALUE ...", "", "variables of the ranks, separated by spaces"},
       &P::environment,
       "[A-Za-z_][A-Za-z0-9_]*=[^ \"'\\\\`]*( +[A-Za-z_][A-Za-z0-9_]*=[^ \"'\\\\`]*)*",
       "NAME=VALUE, several separated by spaces"},
      {{"setup", "COMMANDS", "", "shell commands before the stage, on the first node"}, &P::setup},
      {{"container", "COMMAND", "", "what the program is started by: apptainer exec --nv couplet.sif"},
       &P::container,
       plain,
       plain_text},
      {{"program", "PATH", "", "couplet on the nodes (in the container); empty: the one that submits"},
       &P::program,
       plain,
       plain_text},
      {{"scratch", "DIR", "", "node-local directory in which tables are cached; may name a variable: $TMPDIR"},
       &P::scratch,
       plain,
       plain_text}};
}

std::vector<Rule> stop_rules() {
  using P = StageProfile;
  return {{{"signal-lead", "SECONDS", "120", "how long before the time limit a stage is asked to save and stop"},
           &P::signal_lead,
           {},
           {},
           10,
           65535},
          {{"cluster-requeues", "true|false", "true", "the cluster itself requeues jobs that it preempts"},
           &P::cluster_requeues},
          {{"max-requeues", "N", "100", "times a stage goes on after its time limit or a preemption; 0: never"},
           &P::max_requeues,
           {},
           {},
           0,
           1000000},
          {{"max-retries", "N", "2", "times a stage is tried again after a failure; 0: never"},
           &P::max_retries,
           {},
           {},
           0,
           1000}};
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> table = request_rules();
    for (const auto& part : {launch_rules(), stop_rules()}) table.insert(table.end(), part.begin(), part.end());
    return table;
  }();
  return all;
}

/// An option of sbatch that a job's script gives itself: of a second one sbatch would take one without a word.
struct OwnOption {
  std::string_view name, letter;
  std::string_view instead;
};

constexpr std::array own_options{
    OwnOption{"--nodes", "-N", "set slurm.nodes"},
    OwnOption{"--ntasks", "-n", "set slurm.nodes and slurm.tasks-per-node"},
    OwnOption{"--ntasks-per-node", "", "set slurm.tasks-per-node"},
    OwnOption{"--cpus-per-task", "-c", "set slurm.cpus-per-task"},
    OwnOption{"--gpus-per-node", "", "set slurm.gpus-per-node"},
    OwnOption{"--mem", "", "set slurm.memory"},
    OwnOption{"--time", "-t", "set slurm.time"},
    OwnOption{"--partition", "-p", "set slurm.partition"},
    OwnOption{"--account", "-A", "set slurm.account"},
    OwnOption{"--qos", "-q", "set slurm.qos"},
    OwnOption{"--constraint", "-C", "set slurm.constraint"},
    OwnOption{"--signal", "", "set slurm.signal-lead"},
    OwnOption{"--array", "-a", "set couple.array"},
    OwnOption{"--no-requeue", "", "set slurm.max-requeues = 0 and slurm.max-retries = 0"},
    OwnOption{"--dependency", "-d", "each stage waits for those that it needs"},
    OwnOption{"--output", "-o", "`couplet status` reads what a job says in RUN/log"},
    OwnOption{"--error", "-e", "`couplet status` reads what a job says in RUN/log"},
    OwnOption{"--open-mode", "", "what a job says is kept over its requeues"},
    OwnOption{"--chdir", "-D", "call couplet submit in the folder where the jobs are to start"}};

void refuse_own_options(const Setting& setting) {
  std::istringstream words(setting.text);
  for (std::string given; words >> given;)
    for (const OwnOption& option : own_options)
      if (given.substr(0, given.find('=')) == option.name ||
          (!option.letter.empty() && given.starts_with(option.letter)))
        refuse("{} = \"{}\" ({}): {} repeats or contradicts what every job says itself; {}", setting.key, setting.text,
               setting.where, option.name, option.instead);
}

std::string expectation(const Rule& rule) {
  if (std::holds_alternative<bool StageProfile::*>(rule.target)) return "true or false";
  if (std::holds_alternative<std::int64_t StageProfile::*>(rule.target))
    return fmt::format("a whole number, {} … {}", rule.minimum, rule.maximum);
  return rule.expected.empty() ? "one line of text" : rule.expected;
}

[[noreturn]] void refuse_value(const Rule& rule, const Setting& setting) {
  refuse("{} = \"{}\" ({}): expected {}", setting.key, setting.text, setting.where, expectation(rule));
}

void set(StageProfile& profile, const Rule& rule, std::string StageProfile::*field, const Setting& setting) {
  const std::string& text = setting.text;
  const bool required = !rule.key.default_text.empty();
  // '#' starts a comment in the file in which the profile is kept.
  if (text.find_first_of("#\n\r") != std::string::npos || (required && text.empty())) refuse_value(rule, setting);
  if (!text.empty() && !rule.pattern.empty() && !std::regex_match(text, std::regex(rule.pattern)))
    refuse_value(rule, setting);
  if (field == &StageProfile::time && !text.empty() && parse_slurm_time(text).value_or(0) == 0)
    refuse_value(rule, setting);
  if (field == &StageProfile::sbatch) refuse_own_options(setting);
  profile.*field = text;
}

void set(StageProfile& profile, const Rule& rule, std::int64_t StageProfile::*field, const Setting& setting) {
  const std::string& text = setting.text;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < rule.minimum || value > rule.maximum)
    refuse_value(rule, setting);
  profile.*field = value;
}

void set(StageProfile& profile, const Rule& rule, bool StageProfile::*field, const Setting& setting) {
  if (setting.text != "true" && setting.text != "false") refuse_value(rule, setting);
  profile.*field = setting.text == "true";
}

/// Why a profile has no such key; "" if it has.
std::string key_trouble(const std::string& key) {
  const std::vector<std::string> names = profile_names();
  if (std::ranges::find(names, key) != names.end()) return "";
  return fmt::format("unknown key {}; the nearest is {} (`couplet submit --help` lists all)", key,
                     nearest_name(key, names));
}

}  // namespace

const std::vector<ProfileKey>& profile_keys() {
  static const std::vector<ProfileKey> keys = [] {
    std::vector<ProfileKey> all;
    for (const Rule& rule : rules()) all.push_back(rule.key);
    return all;
  }();
  return keys;
}

std::vector<std::string> profile_names() {
  std::vector<std::string> names;
  for (const ProfileKey& key : profile_keys()) names.push_back("slurm." + key.name);
  for (const StageKind& kind : stage_kinds())
    for (const ProfileKey& key : profile_keys()) names.push_back(fmt::format("slurm.{}.{}", kind.name, key.name));
  return names;
}

Profile::Profile(const std::filesystem::path& file, const std::vector<Setting>& command_line) {
  if (!file.empty())
    for (const Setting& setting : read_ini(file, key_trouble)) settings_[setting.key] = setting;
  for (const Setting& setting : command_line) settings_[setting.key] = setting;
  for (const StageKind& kind : stage_kinds()) stage(kind.name);
}

StageProfile Profile::stage(const std::string& kind) const {
  StageProfile profile;
  for (const Rule& rule : rules()) {
    Setting setting{"slurm." + rule.key.name, rule.key.default_text, "default"};
    for (const std::string& name : {"slurm." + rule.key.name, fmt::format("slurm.{}.{}", kind, rule.key.name)})
      if (const auto given = settings_.find(name); given != settings_.end()) setting = given->second;
    std::visit([&](auto field) { set(profile, rule, field, setting); }, rule.target);
  }
  return profile;
}

std::string Profile::to_ini() const {
  std::string text = "# A cluster profile of Couplet (couplet submit --help)\n";
  const auto add = [&](const std::string& section, bool all) {
    std::string lines;
    for (const ProfileKey& key : profile_keys()) {
      const auto given = settings_.find(section + "." + key.name);
      if (!all && given == settings_.end()) continue;
      const std::string& value = given == settings_.end() ? key.default_text : given->second.text;
      lines += fmt::format("{} ={}{}\n", key.name, value.empty() ? "" : " ", value);
    }
    if (!lines.empty()) text += fmt::format("\n[{}]\n{}", section, lines);
  };
  add("slurm", true);
  for (const StageKind& kind : stage_kinds()) add(fmt::format("slurm.{}", kind.name), false);
  return text;
}

void check_profile(const Profile& profile, const StageNode& node, const Config& config) {
  const std::string& kind = node.kind;
  const StageProfile stage = profile.stage(kind);
  const std::int64_t limit = parse_slurm_time(stage.time).value_or(0);
  if (limit > 0 && stage.signal_lead >= limit)
    refuse(
        "slurm.signal-lead = {} s is not below slurm.time = {} ({} s) of the {} jobs: they would be asked to stop when "
        "they start; give them more time, or set slurm.{}.signal-lead",
        stage.signal_lead, stage.time, limit, kind, kind);
  try {
    validate_ranks(config, stage.ranks(), kind, node.student);
  } catch (const Error& error) {
    refuse("{} jobs of {} nodes x {} tasks (slurm.nodes, slurm.tasks-per-node): {}", kind, stage.nodes,
           stage.tasks_per_node, error.what());
  }
}

std::optional<std::int64_t> parse_slurm_time(const std::string& text) {
  static const std::regex form("(?:([0-9]{1,4})-)?([0-9]{1,7})(?::([0-9]{1,7}))?(?::([0-9]{1,2}))?");
  std::smatch match;
  if (!std::regex_match(text, match, form)) return std::nullopt;
  const auto number = [&match](std::size_t i) { return match[i].matched ? std::stoll(match[i]) : 0; };
  const bool two = match[3].matched, three = match[4].matched;
  if (match[1].matched) return number(1) * 86400 + number(2) * 3600 + number(3) * 60 + number(4);
  if (three) return number(2) * 3600 + number(3) * 60 + number(4);
  return two ? number(2) * 60 + number(3) : number(2) * 60;
}

}  // namespace couplet
