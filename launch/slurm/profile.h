// The cluster profile says what a stage's job asks Slurm for and how its ranks are started there. It is an INI file
// with [slurm] for all stages and [slurm.student] and the like for those of one kind; each key is also a flag,
// `--slurm.student.time`.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/config/ini_file.h"
#include "pipeline/run/stage_graph.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The profile of the jobs of one kind of stage. Texts are checked; "" leaves the choice to the cluster.
struct StageProfile {
  std::string launcher;  ///< "srun" or "mpirun"
  std::string mpi;       ///< srun --mpi=
  std::string launcher_options;
  std::string partition, account, qos, constraint, memory, time;
  std::string sbatch;  ///< further options, each from "--" on
  std::int64_t nodes = 1, tasks_per_node = 1, cpus_per_task = 0;
  std::string gpus_per_node;     ///< "4" or "a100:4"
  std::int64_t signal_lead = 0;  ///< seconds
  bool cluster_requeues = true;
  std::int64_t max_requeues = 0, max_retries = 0;
  std::string modules, environment, setup, container, program, scratch;

  std::int64_t ranks() const { return nodes * tasks_per_node; }
};

/// A key of a profile.
struct ProfileKey {
  std::string name;   ///< "time": slurm.time, slurm.student.time
  std::string value;  ///< what stands for the value in help: "TIME"
  std::string default_text;
  std::string help;  ///< one line
};
const std::vector<ProfileKey>& profile_keys();
/// "slurm.time", "slurm.prepare.time", ...: every name under which a key can be set.
std::vector<std::string> profile_names();

class Profile {
public:
  /// The file, if its path is not empty, wins over the defaults, the command line over the file, and a key for a kind
  /// of stage over the one for all. Every value is checked; a wrong one is refused with key, value, place and what is
  /// allowed.
  Profile(const std::filesystem::path& file, const std::vector<Setting>& command_line);

  StageProfile stage(const std::string& kind) const;
  /// Returns the text of a file that reads back equal.
  std::string to_ini() const;

private:
  std::map<std::string, Setting> settings_;  ///< those that were given, by name
};

/// Refuses jobs that could not work: a signal lead that is not below the time limit, a global batch that the stage's
/// ranks cannot share.
void check_profile(const Profile& profile, const StageNode& node, const Config& config);

/// Returns the seconds of a Slurm time: "90" (minutes), "30:00", "12:00:00", "1-12", "1-12:30", "1-12:30:00"; nothing
/// for other texts.
std::optional<std::int64_t> parse_slurm_time(const std::string& text);

}  // namespace couplet
