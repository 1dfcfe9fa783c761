// The scores of a run: one record a score, one file a node, all of them merged in RUN/evaluate/results.json; how they
// are written, and how they are read again. docs/metrics.md names models, metrics and fields.
#pragma once

#include "pipeline/run/stage_context.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// What a score is of; docs/metrics.md lists the fields.
struct ScoreKey {
  std::string model = {};          ///< teacher, student, real, table
  std::string student = {};        ///< its name
  std::string coupling = {};       ///< of a student
  std::int64_t seed = 0;           ///< of training
  std::string solver = {};         ///< euler, heun, ...; autoregressive for the teacher
  std::string grid = {};           ///< uniform, squared, or the times themselves; "" for dopri5
  std::int64_t nfe = 0;            ///< evaluations of a student's field a sample; of dopri5 only known afterwards
  double atol = 0, rtol = 0;       ///< of dopri5
  std::string noise = {};          ///< fresh: N(0, I); table: of held-out table rows
  std::int64_t sampling_seed = 0;  ///< of fresh noise
  std::string table = {};          ///< coupling table that noise or pairs are of
  std::string split = {};          ///< train, test: of the images a figure is about
  double ema = 0;                  ///< rate of a student's averaged weights; 0: raw
  double guidance = 0;
  double guidance_from = 0, guidance_to = 1;  ///< times at which a student was guided
  double temperature = 1;                     ///< factor of the fresh noise that a student's samples started from
  bool denoised = false;
  std::int64_t candidates = 1;  ///< noises that a sample started from one of

  bool is_adaptive() const { return solver == "dopri5"; }
};

/// What gives a score its meaning besides its key: settings by name, and the fingerprints of the stages whose results
/// it was made with, by the name of the node.
using MadeWith = std::map<std::string, std::string>;

/// The setting of scores by dopri5 that names the rule by which it chooses its steps (`step_rule`).
inline constexpr char solver_setting[] = "dopri5";

/// The network behind a score: as FeatureNetwork has them; empty where a score has none, or the name says it all.
struct ScoreNetwork {
  std::string name = {}, hash = {}, resize = {};
};

/// The records of one node, kept after every score so that an interrupted evaluation goes on where it was. A score that
/// was made stays, and is shown while what it was made with holds (`current_results`), also when it is no longer asked
/// for: an NFE that was taken off the list.
class Records {
public:
  /// Reads what an earlier attempt left in `directory`/records.json. `facts`: further fields of every record that is
  /// added.
  explicit Records(const std::filesystem::path& directory, nlohmann::json facts = nlohmann::json::object());
  /// The record of that score, made with just that. The NFE of dopri5 is no part of what is asked for.
  std::optional<nlohmann::json> find(const ScoreKey& key, const std::string& metric, const MadeWith& with) const;
  bool has(const ScoreKey& key, const std::string& metric, const MadeWith& with) const {
    return find(key, metric, with).has_value();
  }
  /// `details`: further fields of this record.
  void add(const ScoreKey& key, const std::string& metric, const MadeWith& with, double value, std::int64_t samples,
           const ScoreNetwork& network, std::int64_t nonfinite = 0,
           const nlohmann::json& details = nlohmann::json::object());
  /// Drops the records that were made with the results of these nodes; true if there were any.
  bool forget(const std::vector<std::string>& nodes);
  /// Publishes records.json. Only on rank 0.
  void publish() const;

private:
  std::filesystem::path path_;
  nlohmann::json facts_;
  nlohmann::json records_ = nlohmann::json::array();
};

/// What tells a score from every other, in one line.
std::string identity_text(const ScoreKey& key, const std::string& metric, const MadeWith& with);

/// What a score of the node would be made with now, of all that any of its scores may be made with.
MadeWith settings_now(const StageNode& node, const StageGraph& graph);
/// The records of all evaluations of the graph, in its order, that were made with what holds now. Null where no
/// evaluation has left any.
nlohmann::json current_results(const RunView& view);
/// Publishes them as RUN/evaluate/results.json, unless there are none to publish.
void publish_results(const RunView& view);

/// One score as it is read again. Fields that do not apply to it are empty, 0 or -1.
struct ScoreRecord {
  std::string run;       ///< of several that are shown together; empty where there is one
  std::string model;     ///< "teacher", "student", "real", "table"
  std::string student;   ///< its name
  std::string coupling;  ///< of a student
  std::string table;     ///< coupling table that noise or pairs are of
  std::string solver, grid;
  std::string metric;
  std::string noise;  ///< a student's starting points: "fresh" draws or "table" (inverted held-out images); fresh where
                      ///< not recorded
  std::string split;  ///< "train" or "test": rows of pairing metrics, images of the real split
  std::string network, network_hash, resize;
  std::int64_t seed = 0;           ///< of training
  std::int64_t sampling_seed = 0;  ///< of the noise that samples start from
  std::int64_t nfe = 0;
  std::int64_t samples = 0;
  std::int64_t bad_samples = 0;  ///< of `samples`
  double ema = -1;               ///< rate of a student's averaged weights; 0: raw; -1: not recorded
  double guidance = 1;
  double guidance_from = 0, guidance_to = 1;
  double temperature = 1;       ///< of a student's initial noise
  std::int64_t candidates = 1;  ///< noises that a sample started from one of
  double atol = 0, rtol = 0;    ///< of an adaptive solver
  bool denoised = false;        ///< teacher: with its final denoising step
  double value = 0;
  double uncertainty = 0;  ///< the record's own: a standard error, or the standard deviation over subsets or splits; 0:
                           ///< none
  std::string trace;       ///< of a student's likelihood: how the divergence was found
  std::vector<double> times, deviation;  ///< of `curvature`: along the paths
  nlohmann::json made_with;              ///< settings that give the score its meaning, by name; null: not recorded

  /// The solver takes as many evaluations as its tolerances ask for: the NFE is no part of the setting.
  bool adaptive() const { return atol > 0 || rtol > 0; }
  /// The hash of the file that was `evaluate.reference`; empty without such a file, and where it was not recorded.
  std::string reference_hash() const;
};

/// The records of a results.json object, those without a finite value too (as NaN). A value that has another type than
/// its field is an error that names record and field.
std::vector<ScoreRecord> read_records(const nlohmann::json& results, const std::string& run = "");

}  // namespace couplet
