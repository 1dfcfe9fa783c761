// The records of results.json, put in the order in which a reader asks for them. docs/metrics.md names models, metrics
// and fields.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// One score. Fields that do not apply to it are empty, 0 or -1.
struct ScoreRecord {
  std::string model;     ///< "teacher", "student", "real"
  std::string coupling;  ///< of a student
  std::string solver, grid;
  std::string metric;
  std::string noise;  ///< a student's starting points: "fresh" draws or "table" (inverted held-out images); fresh where
                      ///< not recorded
  std::string split;  ///< "train" or "test": rows of pairing metrics, images of the real split
  std::string network;
  std::int64_t seed = 0;  ///< of training
  std::int64_t nfe = 0;
  std::int64_t samples = 0;
  std::int64_t bad_samples = 0;  ///< of `samples`
  double guidance = 1;
  bool denoised = false;  ///< teacher: with its final denoising step
  double value = 0;
};

/// What one setting scored over its training seeds.
struct ScoreSummary {
  double mean = 0;
  double sd = 0;  ///< sample standard deviation over seeds; 0 for one seed
  std::int64_t seeds = 0;
  std::int64_t samples = 0;
  std::string solver, grid;
  double guidance = 1;
};

/// A student's scores against NFE, each with the solver and grid that were best there: one row of the table, one line
/// of the plot.
struct ScoreCurve {
  std::string coupling;
  std::string noise;
  std::map<std::int64_t, ScoreSummary> scores;  ///< by NFE

  std::string label() const;  ///< "nf", "nf, from held-out table z"
};

/// All that was measured, of however much of a run is finished.
struct Scores {
  std::vector<ScoreRecord> records;  ///< those with a finite value
  std::int64_t not_finite = 0;       ///< records without one: reported, never shown as a score
  std::int64_t bad_samples = 0;      ///< samples with NaN or infinite values behind the Fréchet distances
  std::vector<std::string> networks;
  std::vector<ScoreCurve>
      curves;  ///< independent first, then in order of appearance; a coupling's table-z curve follows its own
  std::vector<std::int64_t> columns;  ///< NFE of any curve, ascending
  std::optional<ScoreSummary> teacher, teacher_denoised, real;

  const ScoreCurve* curve(const std::string& coupling, const std::string& noise) const;
  /// Mean over seeds of the records that `wanted` accepts (one a seed; of several the last counts); nothing if there
  /// are none.
  std::optional<ScoreSummary> summary(const std::function<bool(const ScoreRecord&)>& wanted) const;
  /// The same for a metric of the curve's students at one NFE with the solver, grid and guidance of `setting`: another
  /// metric where the distance was best, or fresh noise in the setting of table noise.
  std::optional<ScoreSummary> in_setting(const ScoreCurve& curve, std::int64_t nfe, const ScoreSummary& setting,
                                         const std::string& metric) const;
};

/// `results` is results.json's object. Values that have another type than their field are an error that names record
/// and field.
Scores read_scores(const nlohmann::json& results);

/// Three significant digits without an exponent where one is not needed: "15.8", "0.0386".
std::string number_text(double value);
/// "15.8 ± 0.3" where there are several seeds.
std::string score_text(const ScoreSummary& score);
/// "Fréchet distance, Fashion-MNIST classifier features": the network is named as recorded.
std::string frechet_title(const Scores& scores);

}  // namespace couplet
