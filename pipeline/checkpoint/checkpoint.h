// What a training run keeps on the disk to go on exactly where it was: checkpoints/step-00001200/, and the rule which
// of them to trust.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/tensor/weights.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The step with the best figure of validation so far.
struct BestStep {
  std::int64_t step = 0;  ///< how many steps had been done
  double figure = 0;      ///< lower is better
};

/// The state of training after `step` steps (so `step` is the number of the next one). Rank 0 alone has the files.
struct Checkpoint {
  std::int64_t step = 0;
  std::map<std::string, NamedTensors> files;  ///< by file name: "weights.safetensors", ...
  nlohmann::json last;                        ///< the metrics line of the last step
  std::optional<BestStep> best;

  /// Returns the tensors of one file. A file that is not there is an error that names it.
  const NamedTensors& file(const std::string& name) const;
};

/// The checkpoints of one training stage, in `directory`:
///   step-00001200/  weights.safetensors, ema.safetensors (and ema-<rate>.safetensors), optimizer.safetensors,
///                   state.json (step, provenance, content hash of each file, program version);
///                   appears whole or not at all
///   latest          the name of the newest, published after it
///   best            the name of the one with the best figure of validation, if the stage has such a figure
///   damaged-step-...  one whose bytes are not those that were written, as a restart found it
/// Rank 0 writes and reads.
class CheckpointStore {
public:
  /// Creates the directory and removes what killed writers left. `keep` checkpoints stay, at least 2. Collective.
  CheckpointStore(std::filesystem::path directory, std::int64_t keep, nlohmann::json provenance,
                  Communicator& communicator);

  /// Publishes a checkpoint, then `latest` and `best`, and only then deletes those beyond the last `keep` that are not
  /// the best. Rank 0 alone calls it, on any thread, one call at a time.
  void write(const Checkpoint& checkpoint) const;

  /// Returns the newest checkpoint that is whole, every file's hash checked, or nothing if there is none. Rank 0 reads
  /// it, each file once, and tells the others all but its files. One with a missing file or other bytes than were
  /// written is damaged: a warning says why, and the one before is tried. Once a whole one is found the damaged ones
  /// are put aside; if none is, that is an error. Any other failure to read (of the file system, of memory) is an error
  /// that leaves everything as it is: it may pass, and the same command goes on. A checkpoint of another provenance is
  /// refused, naming the keys with both values. Collective.
  std::optional<Checkpoint> load_newest();

private:
  void delete_old(const Checkpoint& newest) const;
  /// Refuses a checkpoint of another provenance; warns of another version.
  void require_usable(const nlohmann::json& state) const;

  std::filesystem::path directory_;
  std::int64_t keep_;
  nlohmann::json provenance_;
  Communicator& communicator_;
};

/// "step-00001200", with at least eight digits.
std::string checkpoint_name(std::int64_t step);
/// The steps of the checkpoints in a directory, newest first.
std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& directory);

/// Copies values by name into tensors of the same shape. A missing name or another shape is an error that names both
/// and `source`.
void restore_tensors(const NamedTensors& into, const NamedTensors& from, const std::string& source);

}  // namespace couplet
