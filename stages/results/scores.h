// The records of one run's results, or of several, put in the order in which a reader asks for them.
#pragma once

#include "stages/results/score_record.h"

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// What one setting scored over its training seeds and, of each, over its sampling seeds. The two spreads are told
/// apart: training again gives another model, sampling again other samples of the same one.
struct ScoreSummary {
  double mean = 0;  ///< over training seeds, of each one's mean over sampling seeds
  double sd = 0;    ///< sample standard deviation over training seeds (of those means); 0 for one seed
  std::int64_t seeds = 0;
  double sampling_sd = 0;  ///< over sampling seeds of one model: root of the mean variance within training seeds
  std::int64_t sampling_seeds = 1;  ///< the most that a training seed has
  std::int64_t samples = 0;
  std::int64_t nfe = 0;  ///< of an adaptive solver the mean, rounded
  std::string solver, grid;
  double guidance = 1, guidance_from = 0, guidance_to = 1;
  double temperature = 1;
  std::int64_t candidates = 1;
  double atol = 0, rtol = 0;
  double uncertainty = 0;  ///< mean of the records' own (ScoreRecord)

  /// What the mean may be off by when everything is done again: the larger of the two spreads.
  double spread() const { return sd > sampling_sd ? sd : sampling_sd; }
};

/// A student's scores against NFE, by weights of one EMA rate, with guidance of one scale and at one temperature, each
/// score with the solver and grid that were best there: one row of the table, one line of the plot.
struct ScoreCurve {
  std::string run;
  std::string student;   ///< its name
  std::string coupling;  ///< the kind of coupling it was trained from
  std::string distance;  ///< the metric of its scores, as that of all
  std::string noise;
  double guidance = 1;
  double temperature = 1;                       ///< of fresh noise; that of table noise is 1
  std::int64_t candidates = 1;                  ///< as ScoreRecord's
  double ema = -1;                              ///< likewise
  std::map<std::int64_t, ScoreSummary> scores;  ///< by NFE
  std::string variant;  ///< ", guidance 2, temperature 0.9, EMA 0.9999": what tells it from other curves of its
                        ///< student; often empty

  /// "nf"; "nf, guidance 2" where there are curves of several guidance scales; "sigma-0.1: nf" where several runs are
  /// shown.
  std::string model() const;
  std::string label() const;  ///< "nf", "nf, from held-out table z"
  /// True if the record is of this student with these weights and this guidance at this temperature, with so many
  /// candidates, whatever the noise.
  bool is_of(const ScoreRecord& record) const;
  /// True if both have one guidance scale, one temperature, one number of candidates and one EMA rate.
  bool is_like(const ScoreCurve& other) const {
    return guidance == other.guidance && temperature == other.temperature && candidates == other.candidates &&
           ema == other.ema;
  }
};

/// What a run's students are measured against: distances that do not depend on NFE.
struct ScoreLevels {
  std::string run;
  std::optional<ScoreSummary> teacher, teacher_denoised, real;

  /// "teacher", "sigma-0.1: teacher".
  std::string name(const std::string& what) const { return run.empty() ? what : run + ": " + what; }
};

/// All that was measured, of however much of a run is finished.
struct Scores {
  std::string distance;              ///< the metric of curves and levels: the Fréchet distance, or that of points
  std::vector<ScoreRecord> records;  ///< those with a finite value
  std::int64_t not_finite = 0;       ///< records without one: reported, never shown as a score
  std::int64_t bad_samples = 0;      ///< samples with NaN or infinite values behind these distances
  std::vector<std::string> networks;
  std::vector<ScoreCurve> curves;     ///< run by run; students of independent pairs first, then in order of appearance;
                                      ///< a student's table-z curve follows its own
  std::vector<std::int64_t> columns;  ///< NFE of any curve, ascending
  std::vector<ScoreLevels> levels;    ///< a run each

  /// The student's first curve, and nothing if there is none.
  const ScoreCurve* curve(const std::string& student, const std::string& noise, const std::string& run = "") const;
  /// The curve of a student from fresh noise that `like` is fairly set against: with its guidance and its EMA rate, or,
  /// where the student was not scored with these, its first one; nothing if there is none at its temperature.
  const ScoreCurve* counterpart(const std::string& student, const std::string& run, const ScoreCurve& like) const;
  /// Finds the same student, weights and guidance from other noise, whatever the temperature and the candidates; nothing
  /// if there is none.
  const ScoreCurve* from_noise(const std::string& noise, const ScoreCurve& curve) const;
  /// Sums up the records that `wanted` accepts (one a training and sampling seed; of several the last counts); nothing
  /// if there are none.
  std::optional<ScoreSummary> summary(const std::function<bool(const ScoreRecord&)>& wanted) const;
  /// A metric of the curve's students, whatever the setting.
  std::optional<ScoreSummary> of_curve(const ScoreCurve& curve, const std::string& metric,
                                       const std::string& split = "") const;
  /// A metric of the curve's students at one NFE with the solver, grid and guidance of `setting`: another metric where
  /// the distance was best, or fresh noise in the setting of table noise.
  std::optional<ScoreSummary> in_setting(const ScoreCurve& curve, std::int64_t nfe, const ScoreSummary& setting,
                                         const std::string& metric) const;
};

/// A results.json object and the name of its run.
struct RunResults {
  std::string run;
  nlohmann::json results;
};

/// Reads the scores of one run; curves and levels carry no run's name.
Scores read_scores(const nlohmann::json& results);
/// Reads those of several runs, which are told apart by their names.
Scores read_all_scores(const std::vector<RunResults>& runs);

/// "15.8 ± 0.3" over training seeds, "15.8 ± 0.3 [0.1]" over sampling seeds besides, "15.8 [0.1]" over those alone.
std::string score_text(const ScoreSummary& score);
/// "euler, uniform", "heun, squared, guidance 1.5", "dopri5, atol 1e-05, rtol 1e-05".
std::string setting_text(const ScoreSummary& score);

/// ", EMA 0.9999", ", raw weights"; empty where the rate was not recorded. It follows a model's name.
std::string ema_text(double rate);

/// Counts the seeds over which the scores of the curves are spread: the most that any of them has.
struct SeedCounts {
  std::int64_t training = 1, sampling = 1;
};
SeedCounts seed_counts(const Scores& scores);

}  // namespace couplet
