// The pairs of noise and image that a student is trained on. Which couplings there are stands in members.list.
#pragma once

#include "method/couplings/coupling_table.h"
#include "method/data/codec.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/loader/batch_range.h"
#include "pipeline/tensor/weights.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// Pairs lie on the CPU, a row each on axis 0.
struct Pairs {
  at::Tensor image;  ///< float32 [n, C, H, W] as models see it
  at::Tensor noise;  ///< float32 [n, C, H, W], of unit variance
  at::Tensor label;  ///< int64 [n], the caller's own
};

class Coupling {
public:
  virtual ~Coupling() = default;

  /// Lets the ranks tell each other what they must know to draw `step`. Collective; called for one step after the
  /// other, on the thread that trains, before that step is drawn and while earlier ones are. A coupling whose ranks
  /// need nothing of each other has nothing to do.
  virtual void agree(std::int64_t) {}
  /// This rank's pairs of a step: a function of (seed, step) and of what the steps before have left in `state`. Called
  /// for one step after the other, ahead of training, on a thread of its own; the ranks have agreed on the step. A
  /// coupling without a table is judged by some steps behind training, drawn on the thread that trained.
  virtual Pairs draw(const BatchRange& range) = 0;

  /// Held-out pairs, the same whenever they are asked for: how many there are, and those of these numbers, ascending.
  /// Called while another thread draws.
  virtual std::int64_t held_out_rows() const = 0;
  virtual Pairs held_out(const std::vector<std::int64_t>& rows) const = 0;

  /// What drawing has changed, to go on from with `restore`: equal on all ranks, in tensors that later draws leave as
  /// they are. Empty, at any time: drawing changes nothing. It is checkpointed with the student; called on the thread
  /// that draws.
  virtual NamedTensors state() const { return {}; }
  /// Goes back to an earlier state; what was agreed on is forgotten. Called while nobody draws.
  virtual void restore(const NamedTensors&) {}

  /// What the pairs are made from, for checkpoints: {"table": hash}. "teacher", where a table says which one filled it.
  virtual nlohmann::json provenance() const = 0;
};

/// What a coupling can be made from. Files are opened by the couplings that read them.
struct CouplingSources {
  std::filesystem::path train_images, test_images;  ///< the data set's tables
  std::filesystem::path train_table, test_table;    ///< parts of the coupling table that the kind names, if it does
  ReadOptions reads;                                ///< how training reads its rows
  /// How a table numbers the data set's rows, for couplings that have none: all see the same images in the same order.
  bool flips = true;
  std::int64_t replicates = 1;
  std::int64_t block_rows = 256;
  std::int64_t window_blocks = 16;  ///< blocks within which rows are shuffled
  std::uint64_t seed = 0;           ///< of the student's draws
  std::uint64_t held_out_seed = 0;  ///< of the held-out pairs, which are the same for all students of a run
  std::shared_ptr<const Codec> codec;     ///< of the data set
  Communicator* communicator = nullptr;   ///< of the ranks that train the student
  std::int64_t batch = 0;                 ///< the global batch
};

/// A member of the registry of couplings (method/couplings/members.list).
struct CouplingKind {
  std::string name;
  std::string help;   ///< one line
  std::string table;  ///< name of the coupling table that it reads; "": it reads the data set
  /// The table holds what the teacher makes of every image: the student can be held against the teacher itself.
  bool table_of_teacher = false;
  bool is_baseline = false;  ///< reports show its students first, and hold the others against them
  std::unique_ptr<Coupling> (*make)(const CouplingSources& sources) = nullptr;

  bool has_table() const { return !table.empty(); }
};

const std::vector<CouplingKind>& coupling_kinds();
/// An unknown name is refused with the nearest.
const CouplingKind& find_coupling(const std::string& name);
/// True of the name of a baseline; false of a name that is unknown, as in the results of another program.
bool is_baseline(const std::string& name);

}  // namespace couplet
