// The pairs of noise and image that a student is trained on. Which couplings there are stands in members.list.
#pragma once

#include "method/data/codec.h"
#include "method/data/condition.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/tables/coupling_table.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/loader/batch_range.h"
#include "pipeline/tensor/weights.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// Pairs lie on the CPU, a row each on axis 0.
struct Pairs {
  at::Tensor image;  ///< float32 [n, C, H, W] as models see it
  at::Tensor noise;  ///< float32 [n, C, H, W], of unit variance unless the coupling has a `source`
  at::Tensor label;  ///< int64 [n], the caller's own
  /// float32 [n, C, H, W]: the image with the noise on it that the teacher carried to `noise`; undefined unless it is
  /// asked for (CouplingSources::teacher_noise).
  at::Tensor noised = {};
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

  /// Writes what training has learnt of the pairs, and others may want, into the student's directory: once it is
  /// trained, on rank 0, after the last step was drawn or its state restored. The same again where it is there.
  virtual void publish(const std::filesystem::path&) const {}

  /// What the pairs are made from, for checkpoints: {"table": hash}. "teacher", where a table says which one filled it.
  virtual nlohmann::json provenance() const = 0;
};

/// Of the coupling loom.
struct LoomOptions {
  std::int64_t slots = 4;           ///< noises of each row
  std::int64_t resample_every = 0;  ///< epochs after which all noises are drawn anew; 0: never
  std::int64_t train_after = 0;     ///< epochs of exchanges before training, each time the noises are new
  bool swaps = true;                ///< false: each row keeps its noises
  bool within_class = false;        ///< noise stays with the label of the row that it was drawn for
};

/// How a student's configuration wants its pairs.
struct PairingOptions {
  std::string section = "student";  ///< of the student's keys, for messages
  std::int64_t batch = 0;           ///< the global batch
  /// How a table numbers the data set's rows, for couplings that have none: all see the same images in the same order.
  bool flips = true;
  std::int64_t replicates = 1;
  bool ot_within_class = false;  ///< student.ot-within
  std::int64_t ot_steps = 1;     ///< student.ot-steps
  double source_noise = 0;       ///< student.source-noise
  LoomOptions loom = {};
};

/// What a teacher that fills a table adds to the images: noise drawn by their rows' numbers.
struct TeacherNoise {
  ImageNoise noise;
  std::uint64_t seed = 0;
};

/// What a coupling can be made from. Files are opened by the couplings that read them.
struct CouplingSources {
  std::filesystem::path train_images, test_images;  ///< the data set's tables
  /// Parts of the coupling table, if the coupling reads one. One that comes from elsewhere may have no test part.
  std::filesystem::path train_table, test_table;
  ReadOptions reads;  ///< how training reads its rows
  PairingOptions pairing = {};
  std::int64_t block_rows = 256;
  std::int64_t window_blocks = 16;       ///< blocks within which rows are shuffled
  std::uint64_t seed = 0;                ///< of the student's draws
  std::uint64_t held_out_seed = 0;       ///< of the held-out pairs, which are the same for all students of a run
  std::shared_ptr<const Codec> codec;    ///< of the data set
  Communicator* communicator = nullptr;  ///< of the ranks that train the student
  /// Asks for Pairs::noised, of a table of both splits that the teacher has filled, or whose noise was mapped since.
  std::optional<TeacherNoise> teacher_noise = {};
};

/// A member of the registry of couplings (method/couplings/members.list).
struct CouplingKind {
  std::string name;
  std::string help;          ///< one line
  std::string made_by = {};  ///< who makes the coupling table that it reads (stages/couple); "": it reads the data set
  std::string table = {};    ///< the table's name
  /// The student's keys say which of several tables it is; `table` is then what their names begin with.
  bool table_is_named = false;
  bool table_has_noise = true;  ///< the table holds noise and images, not numbers of noise
  bool is_baseline = false;     ///< reports show its students first, and hold the others against them
  /// Keys of [student] that only the couplings that name them use ("student.ot-steps"): students of other couplings
  /// stay what they are when one of these changes.
  std::vector<std::string> keys = {};
  std::int64_t least_batch = 1;  ///< rows of a global batch that it needs
  /// Of a coupling whose images come from another source than N(0, I): the state at t = 1 that sampling starts from,
  /// made of noise z of unit variance and the condition, as its pairs' noise is. `noise`: student.source-noise. Such a
  /// student has no likelihood, and samplers that take N(0, I) for granted are not for it. Absent: z itself.
  at::Tensor (*source)(const at::Tensor& z, const Condition& condition, double noise) = nullptr;
  /// Refuses what no student could be trained with on a data set of so many training samples; asked before any work,
  /// when `shape` may have no class_counts yet, and again when the coupling is made. May be absent.
  void (*check)(const PairingOptions& options, const DatasetShape& shape, std::int64_t samples) = nullptr;
  std::unique_ptr<Coupling> (*make)(const CouplingSources& sources) = nullptr;

  bool has_table() const { return !made_by.empty(); }
  /// The table holds what the teacher makes of every image: the student can be held against the teacher itself.
  bool has_table_of_teacher() const { return made_by == "inversion"; }
};

const std::vector<CouplingKind>& coupling_kinds();
/// An unknown name is refused with the nearest.
const CouplingKind& find_coupling(const std::string& name);
/// True of the name of a baseline; false of a name that is unknown, as in the results of another program.
bool is_baseline(const std::string& name);

}  // namespace couplet
