#include "stages/results/scores.h"

#include "method/couplings/coupling.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

namespace couplet {

namespace {

void add_once(std::vector<std::string>& list, const std::string& value) {
  if (!value.empty() && std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
}

/// What samples were compared by.
std::string distance_of(const std::vector<ScoreRecord>& records) {
  const auto is_of_points = [](const ScoreRecord& record) { return record.metric == "wasserstein_distance"; };
  const auto is_of_images = [](const ScoreRecord& record) { return record.metric == "frechet_distance"; };
  const bool points = std::ranges::any_of(records, is_of_points) && std::ranges::none_of(records, is_of_images);
  return points ? "wasserstein_distance" : "frechet_distance";
}

using Seeds = std::pair<std::int64_t, std::int64_t>;  // of training, of sampling
using BySeeds = std::map<Seeds, const ScoreRecord*>;

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Sample variance; 0 for one value.
double variance_of(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return squares / static_cast<double>(values.size() - 1);
}

ScoreSummary over_seeds(const BySeeds& by_seeds) {
  const ScoreRecord& any = *by_seeds.begin()->second;
  ScoreSummary score;
  score.samples = any.samples;
  score.solver = any.solver;
  score.grid = any.grid;
  score.guidance = any.guidance;
  score.guidance_from = any.guidance_from;
  score.guidance_to = any.guidance_to;
  score.temperature = any.temperature;
  score.candidates = any.candidates;
  score.atol = any.atol;
  score.rtol = any.rtol;
  std::map<std::int64_t, std::vector<double>> by_training;
  double evaluations = 0;
  for (const auto& [seeds, record] : by_seeds) {
    by_training[seeds.first].push_back(record->value);
    evaluations += static_cast<double>(record->nfe) / static_cast<double>(by_seeds.size());
    score.uncertainty += record->uncertainty / static_cast<double>(by_seeds.size());
  }
  score.nfe = std::llround(evaluations);
  score.seeds = static_cast<std::int64_t>(by_training.size());
  std::vector<double> means, within;
  for (const auto& [seed, values] : by_training) {
    means.push_back(mean_of(values));
    if (values.size() > 1) within.push_back(variance_of(values));
    score.sampling_seeds = std::max(score.sampling_seeds, static_cast<std::int64_t>(values.size()));
  }
  score.mean = mean_of(means);
  score.sd = std::sqrt(variance_of(means));
  if (!within.empty()) score.sampling_sd = std::sqrt(mean_of(within));
  return score;
}

/// Solver, grid, guidance and its interval, tolerances.
using SettingKey = std::tuple<std::string, std::string, double, double, double, double, double>;

template <class Settings>
SettingKey setting_of(const Settings& from) {
  return {from.solver, from.grid, from.guidance, from.guidance_from, from.guidance_to, from.atol, from.rtol};
}

/// More seeds first, then the lower mean.
bool better(const ScoreSummary& score, const ScoreSummary& than) {
  const auto counted = [](const ScoreSummary& summary) { return std::pair(summary.seeds, summary.sampling_seeds); };
  return counted(score) != counted(than) ? counted(score) > counted(than) : score.mean < than.mean;
}

/// The best setting at each NFE.
ScoreCurve best_curve(const Scores& scores, ScoreCurve curve) {
  std::map<std::pair<std::int64_t, SettingKey>, BySeeds> settings;
  for (const ScoreRecord& record : scores.records) {
    if (record.metric != scores.distance || !curve.is_of(record) || record.noise != curve.noise) continue;
    // Each seed of an adaptive solver has an NFE of its own.
    settings[{record.adaptive() ? 0 : record.nfe, setting_of(record)}][{record.seed, record.sampling_seed}] = &record;
  }
  for (const auto& [setting, by_seeds] : settings) {
    const ScoreSummary score = over_seeds(by_seeds);
    const auto [best, first] = curve.scores.try_emplace(score.nfe, score);
    if (!first && better(score, best->second)) best->second = score;
  }
  return curve;
}

/// The run's students with each of their weights, guidance scales and temperatures, in the order of the curves; without
/// scores.
std::vector<ScoreCurve> empty_curves(const Scores& scores, const std::string& run) {
  std::vector<ScoreCurve> curves;
  for (const ScoreRecord& record : scores.records) {
    if (record.model != "student" || record.metric != scores.distance || record.run != run) continue;
    if (std::ranges::any_of(curves, [&](const ScoreCurve& curve) { return curve.is_of(record); })) continue;
    ScoreCurve curve;
    curve.run = run;
    curve.student = record.student;
    curve.coupling = record.coupling;
    curve.distance = scores.distance;
    curve.guidance = record.guidance;
    curve.temperature = record.temperature;
    curve.candidates = record.candidates;
    curve.ema = record.ema;
    curves.push_back(curve);
  }
  // A student's curves stand together.
  std::vector<std::string> students;
  for (const ScoreCurve& curve : curves) add_once(students, curve.student);
  std::ranges::stable_sort(curves, {},
                           [&](const ScoreCurve& curve) { return std::ranges::find(students, curve.student); });
  std::ranges::stable_partition(curves, [](const ScoreCurve& curve) { return is_baseline(curve.coupling); });
  return curves;
}

void add_run(Scores& scores, const std::string& run) {
  for (ScoreCurve& curve : empty_curves(scores, run)) {
    for (const char* noise : {"fresh", "table"}) {
      curve.noise = noise;
      ScoreCurve found = best_curve(scores, curve);
      if (!found.scores.empty()) scores.curves.push_back(std::move(found));
    }
  }
  const auto level = [&](const char* model, bool denoised) {
    return scores.summary([&](const ScoreRecord& record) {
      return record.metric == scores.distance && record.model == model && record.denoised == denoised &&
             record.run == run;
    });
  };
  scores.levels.push_back({run, level("teacher", false), level("teacher", true), level("real", false)});
}

/// Names guidance, temperature and EMA rate where there are several of them.
void tell_apart(std::vector<ScoreCurve>& curves) {
  std::set<double> guidances, temperatures, rates;
  for (const ScoreCurve& curve : curves) {
    guidances.insert(curve.guidance);
    temperatures.insert(curve.temperature);
    rates.insert(curve.ema);
  }
  for (ScoreCurve& curve : curves) {
    if (guidances.size() > 1 && curve.guidance != 1) curve.variant += fmt::format(", guidance {:g}", curve.guidance);
    if (temperatures.size() > 1 && curve.temperature != 1)
      curve.variant += fmt::format(", temperature {:g}", curve.temperature);
    if (curve.candidates > 1) curve.variant += fmt::format(", {} candidates", curve.candidates);
    if (rates.size() > 1) curve.variant += ema_text(curve.ema);
  }
}

}  // namespace

std::string ScoreCurve::model() const {
  return (run.empty() ? student : run + ": " + student) + variant;
}

std::string ScoreCurve::label() const {
  return noise == "table" ? model() + ", from held-out table z" : model();
}

bool ScoreCurve::is_of(const ScoreRecord& record) const {
  return record.model == "student" && record.run == run && record.student == student && record.guidance == guidance &&
         record.temperature == temperature && record.candidates == candidates && record.ema == ema;
}

const ScoreCurve* Scores::curve(const std::string& student, const std::string& noise, const std::string& run) const {
  const auto found = std::ranges::find_if(curves, [&](const ScoreCurve& each) {
    return each.student == student && each.noise == noise && each.run == run;
  });
  return found == curves.end() ? nullptr : &*found;
}

const ScoreCurve* Scores::counterpart(const std::string& student, const std::string& run,
                                      const ScoreCurve& like) const {
  const ScoreCurve* first = nullptr;
  for (const ScoreCurve& each : curves) {
    if (each.student != student || each.noise != "fresh" || each.run != run || each.temperature != like.temperature)
      continue;
    if (each.is_like(like)) return &each;
    if (first == nullptr) first = &each;
  }
  return first;
}

const ScoreCurve* Scores::from_noise(const std::string& noise, const ScoreCurve& curve) const {
  const auto found = std::ranges::find_if(curves, [&](const ScoreCurve& each) {
    return each.student == curve.student && each.noise == noise && each.run == curve.run &&
           each.guidance == curve.guidance && each.ema == curve.ema;
  });
  return found == curves.end() ? nullptr : &*found;
}

std::optional<ScoreSummary> Scores::summary(const std::function<bool(const ScoreRecord&)>& wanted) const {
  BySeeds by_seeds;
  for (const ScoreRecord& record : records) {
    if (wanted(record)) by_seeds[{record.seed, record.sampling_seed}] = &record;
  }
  if (by_seeds.empty()) return std::nullopt;
  return over_seeds(by_seeds);
}

std::optional<ScoreSummary> Scores::of_curve(const ScoreCurve& curve, const std::string& metric,
                                             const std::string& split) const {
  return summary([&](const ScoreRecord& record) {
    return record.metric == metric && curve.is_of(record) && record.noise == curve.noise &&
           (split.empty() || record.split == split);
  });
}

std::optional<ScoreSummary> Scores::in_setting(const ScoreCurve& curve, std::int64_t nfe, const ScoreSummary& setting,
                                               const std::string& metric) const {
  const SettingKey wanted = setting_of(setting);
  return summary([&](const ScoreRecord& record) {
    return record.metric == metric && curve.is_of(record) && record.noise == curve.noise &&
           (record.nfe == nfe || record.adaptive()) && setting_of(record) == wanted;
  });
}

Scores read_scores(const nlohmann::json& results) {
  return read_all_scores({{"", results}});
}

Scores read_all_scores(const std::vector<RunResults>& runs) {
  Scores scores;
  for (const RunResults& run : runs) {
    for (ScoreRecord& record : read_records(run.results, run.run)) {
      if (!std::isfinite(record.value)) {
        ++scores.not_finite;
        continue;
      }
      scores.records.push_back(std::move(record));
    }
  }
  scores.distance = distance_of(scores.records);
  for (const ScoreRecord& record : scores.records) {
    if (record.metric != scores.distance) continue;
    add_once(scores.networks, record.network);
    scores.bad_samples += record.bad_samples;
  }
  for (const RunResults& run : runs) add_run(scores, run.run);
  tell_apart(scores.curves);
  std::set<std::int64_t> counts;
  for (const ScoreCurve& curve : scores.curves) {
    for (const auto& [nfe, score] : curve.scores) counts.insert(nfe);
  }
  scores.columns.assign(counts.begin(), counts.end());
  return scores;
}

std::string score_text(const ScoreSummary& score) {
  // What rounding leaves of equal values is no spread.
  const auto spread = [&](double sd) { return sd > 1e-12 * std::abs(score.mean) ? sd : 0; };
  std::string text = number_text(score.mean);
  if (score.seeds > 1) text += fmt::format(" ± {:.2g}", spread(score.sd));
  if (score.sampling_seeds > 1) text += fmt::format(" [{:.2g}]", spread(score.sampling_sd));
  return text;
}

SeedCounts seed_counts(const Scores& scores) {
  SeedCounts most;
  for (const ScoreCurve& curve : scores.curves) {
    for (const auto& [nfe, score] : curve.scores) {
      most.training = std::max(most.training, score.seeds);
      most.sampling = std::max(most.sampling, score.sampling_seeds);
    }
  }
  return most;
}

std::string ema_text(double rate) {
  if (rate < 0) return "";
  return rate > 0 ? fmt::format(", EMA {:g}", rate) : ", raw weights";
}

std::string setting_text(const ScoreSummary& score) {
  std::string text = score.solver;
  if (!score.grid.empty()) text += ", " + score.grid;
  if (score.atol > 0 || score.rtol > 0) text += fmt::format(", atol {:g}, rtol {:g}", score.atol, score.rtol);
  if (score.guidance != 1) text += fmt::format(", guidance {:g}", score.guidance);
  if (score.guidance != 1 && (score.guidance_from > 0 || score.guidance_to < 1))
    text += fmt::format(" on [{:g}, {:g}]", score.guidance_from, score.guidance_to);
  if (score.temperature != 1) text += fmt::format(", temperature {:g}", score.temperature);
  if (score.candidates > 1) text += fmt::format(", {} candidates", score.candidates);
  return text;
}

}  // namespace couplet
