// What a training run needs to go on exactly where it was, on disk: checkpoints/step-00001200/ and the rule for which
// of them to trust.
#pragma once

#include "pipeline/communicator.h"
#include "pipeline/weights.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The state of training after `step` steps (so `step` is the number of the next one).
struct Checkpoint {
  std::int64_t step = 0;
  NamedTensors weights;    ///< parameters and buffers
  NamedTensors ema;        ///< averages of the parameters; buffers as in `weights`
  NamedTensors optimizer;  ///< AdamW::state
  nlohmann::json last;     ///< metrics line of the last step
};

/// The checkpoints of one training stage, in `directory`:
///   step-00001200/  weights.safetensors, ema.safetensors, optimizer.safetensors, state.json (step, provenance, content
///   hash of each file, program version);
///                   appears whole or not at all
///   latest          name of the newest, published after it
/// Every call is collective. Rank 0 writes; all ranks read.
class CheckpointStore {
public:
  /// Creates the directory; removes what killed writers left. `keep` (at least 2) checkpoints stay.
  CheckpointStore(std::filesystem::path directory, std::int64_t keep, nlohmann::json provenance,
                  Communicator& communicator);

  /// Publishes a checkpoint, then `latest`, and only then deletes those beyond the last `keep`, and those of later
  /// steps (which `load_newest` passed over: training has come this way again). If it cannot be written, every rank
  /// fails with rank 0's reason.
  void save(const Checkpoint& checkpoint);

  /// The newest checkpoint that is whole (every file's hash checked) on every rank; for each that is not, a warning
  /// says why and the one before is tried. Nothing if there are none. Refused, naming the keys with both values: one of
  /// another provenance. An error: some, but none whole.
  std::optional<Checkpoint> load_newest();

private:
  void write(const Checkpoint& checkpoint) const;
  void delete_old(std::int64_t newest) const;

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
