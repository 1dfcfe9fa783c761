// The scores of a run: one record a score, one file a node, all of them merged in RUN/evaluate/results.json; how they
// are written, and how they are read again. docs/metrics.md names models, metrics and fields.
#pragma once

#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// What a record says besides metric and value; docs/metrics.md lists the fields.
struct RecordKey {
  std::string model = {};     ///< teacher, student, real
  std::string coupling = {};  ///< of a student
  std::int64_t seed = 0;
  std::string solver = {};         ///< euler, heun, ...; autoregressive for the teacher
  std::string grid = {};           ///< uniform, squared, or the times themselves; "" for dopri5
  std::int64_t nfe = 0;            ///< evaluations of a student's field a sample; of dopri5 only known afterwards
  std::string noise = {};          ///< fresh: N(0, I); table: of held-out table rows
  std::int64_t sampling_seed = 0;  ///< of fresh noise
  std::string split = {};          ///< train, test: of the images a figure is about
  double guidance = 0;
  bool denoised = false;
  double guidance_from = 0, guidance_to = 1;  ///< times at which a student was guided
};

/// The network behind a score: as FeatureNetwork has them; empty where a score has none, or the name says it all.
struct ScoreNetwork {
  std::string name = {}, hash = {}, resize = {};
};

/// The records of one node, kept after every score so that an interrupted evaluation goes on where it was.
class Records {
public:
  /// Reads what an earlier attempt left in `directory`/records.json.
  explicit Records(const std::filesystem::path& directory);
  /// True if this score is there already. The NFE of dopri5 is no part of what is asked for.
  bool has(const RecordKey& key, const std::string& metric) const { return find(key, metric).has_value(); }
  std::optional<nlohmann::json> find(const RecordKey& key, const std::string& metric) const;
  /// `details`: further fields of this record.
  void add(const RecordKey& key, const std::string& metric, double value, std::int64_t samples,
           const ScoreNetwork& network, std::int64_t nonfinite = 0,
           const nlohmann::json& details = nlohmann::json::object());
  /// Refuses to go on where an earlier attempt's Fréchet distances are by another network than this.
  void require_network(const ScoreNetwork& network) const;
  /// Publishes records.json. Only on rank 0.
  void publish() const;

private:
  std::filesystem::path path_;
  nlohmann::json records_ = nlohmann::json::array();
};

/// Merges the records of all nodes of the graph that have some into RUN/evaluate/results.json, in the graph's order.
void merge_results(const RunDirectory& run, const std::vector<StageNode>& graph);

/// One score. Fields that do not apply to it are empty, 0 or -1.
struct ScoreRecord {
  std::string run;       ///< of several that are shown together; empty where there is one
  std::string model;     ///< "teacher", "student", "real"
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
  double atol = 0, rtol = 0;  ///< of an adaptive solver
  bool denoised = false;      ///< teacher: with its final denoising step
  double value = 0;
  double uncertainty = 0;  ///< the record's own: a standard error, or the standard deviation over subsets or splits; 0:
                           ///< none
  std::string trace;       ///< of a student's likelihood: how the divergence was found
  std::vector<double> times, deviation;  ///< of `curvature`: along the paths
  nlohmann::json made_with;              ///< settings that give the score its meaning, by name; null: not recorded

  /// The solver takes as many evaluations as its tolerances ask for: the NFE is no part of the setting.
  bool adaptive() const { return atol > 0 || rtol > 0; }
};

/// The records of a results.json object, those without a finite value too (as NaN). A value that has another type than
/// its field is an error that names record and field.
std::vector<ScoreRecord> read_records(const nlohmann::json& results, const std::string& run = "");

}  // namespace couplet
