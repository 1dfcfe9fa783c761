// What a training run needs to go on exactly where it was, on disk: checkpoints/step-00001200/ and the rule for which
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
  std::int64_t step = 0;  ///< steps done
  double figure = 0;      ///< lower is better
};

/// The state of training after `step` steps (so `step` is the number of the next one).
struct Checkpoint {
  std::int64_t step = 0;
  std::map<std::string, NamedTensors> files;  ///< by file name: "weights.safetensors", ...
  nlohmann::json last;                        ///< metrics line of the last step
  std::optional<BestStep> best;

  /// The tensors of one file; an error that names it if it is not there.
  const NamedTensors& file(const std::string& name) const;
};

/// The checkpoints of one training stage, in `directory`:
///   step-00001200/  weights.safetensors, ema.safetensors (and ema-<rate>.safetensors), optimizer.safetensors,
///                   state.json (step, provenance, content hash of each file, program version);
///                   appears whole or not at all
///   latest          name of the newest, published after it
///   best            name of the one with the best figure of validation, if the stage has such a figure
/// Rank 0 writes; all ranks read.
class CheckpointStore {
public:
  /// Creates the directory; removes what killed writers left. `keep` (at least 2) checkpoints stay. Collective.
  CheckpointStore(std::filesystem::path directory, std::int64_t keep, nlohmann::json provenance,
                  Communicator& communicator);

  /// Publishes a checkpoint, then `latest` and `best`, and only then deletes those beyond the last `keep` that are not
  /// the best, and those of later steps (which `load_newest` passed over: training has come this way again). Rank 0
  /// alone, on any thread, one call at a time.
  void write(const Checkpoint& checkpoint) const;

  /// The newest checkpoint that is whole (every file's hash checked) on every rank; for each that is not, a warning
  /// says why and the one before is tried. Nothing if there are none. Refused, naming the keys with both values: one of
  /// another provenance. An error: some, but none whole. Collective.
  std::optional<Checkpoint> load_newest();

private:
  void delete_old(const Checkpoint& newest) const;

  std::filesystem::path directory_;
  std::int64_t keep_;
  nlohmann::json provenance_;
  Communicator& communicator_;
};

/// "step-00001200": eight digits at least.
std::string checkpoint_name(std::int64_t step);
/// Steps of the checkpoints in a directory, newest first.
std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& directory);

/// Copies values by name into tensors of the same shape. A missing name or another shape is an error that names both
/// and `source`.
void restore_tensors(const NamedTensors& into, const NamedTensors& from, const std::string& source);

}  // namespace couplet
