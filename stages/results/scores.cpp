#include "stages/results/scores.h"

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
using Setting = std::tuple<std::string, std::string, double, double, double, double, double>;

template <class Settings>
Setting setting_of(const Settings& from) {
  return {from.solver, from.grid, from.guidance, from.guidance_from, from.guidance_to, from.atol, from.rtol};
}

/// More seeds first, then the lower mean.
bool better(const ScoreSummary& score, const ScoreSummary& than) {
  const auto counted = [](const ScoreSummary& summary) { return std::pair(summary.seeds, summary.sampling_seeds); };
  return counted(score) != counted(than) ? counted(score) > counted(than) : score.mean < than.mean;
}

/// The best setting at each NFE.
ScoreCurve best_curve(const std::vector<ScoreRecord>& records, ScoreCurve curve) {
  std::map<std::pair<std::int64_t, Setting>, BySeeds> settings;
  for (const ScoreRecord& record : records) {
    if (record.model != "student" || record.metric != "frechet_distance" || record.run != curve.run) continue;
    if (record.coupling != curve.coupling || record.noise != curve.noise) continue;
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

std::vector<std::string> coupling_order(const std::vector<ScoreRecord>& records, const std::string& run) {
  std::vector<std::string> couplings;
  for (const ScoreRecord& record : records) {
    if (record.model == "student" && record.run == run) add_once(couplings, record.coupling);
  }
  std::stable_partition(couplings.begin(), couplings.end(), [](const auto& name) { return name == "independent"; });
  return couplings;
}

void add_run(Scores& scores, const std::string& run) {
  for (const std::string& coupling : coupling_order(scores.records, run)) {
    for (const char* noise : {"fresh", "table"}) {
      ScoreCurve curve = best_curve(scores.records, {run, coupling, noise, {}});
      if (!curve.scores.empty()) scores.curves.push_back(std::move(curve));
    }
  }
  const auto level = [&](const char* model, bool denoised) {
    return scores.summary([&](const ScoreRecord& record) {
      return record.metric == "frechet_distance" && record.model == model && record.denoised == denoised &&
             record.run == run;
    });
  };
  scores.levels.push_back({run, level("teacher", false), level("teacher", true), level("real", false)});
}

}  // namespace

std::string ScoreCurve::model() const {
  return run.empty() ? coupling : run + ": " + coupling;
}

std::string ScoreCurve::label() const {
  return noise == "table" ? model() + ", from held-out table z" : model();
}

const ScoreCurve* Scores::curve(const std::string& coupling, const std::string& noise, const std::string& run) const {
  for (const ScoreCurve& candidate : curves) {
    if (candidate.coupling == coupling && candidate.noise == noise && candidate.run == run) return &candidate;
  }
  return nullptr;
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
    return record.model == "student" && record.metric == metric && record.run == curve.run &&
           record.coupling == curve.coupling && record.noise == curve.noise && (split.empty() || record.split == split);
  });
}

std::optional<ScoreSummary> Scores::in_setting(const ScoreCurve& curve, std::int64_t nfe, const ScoreSummary& setting,
                                               const std::string& metric) const {
  const Setting wanted = setting_of(setting);
  return summary([&](const ScoreRecord& record) {
    return record.model == "student" && record.metric == metric && record.run == curve.run &&
           record.coupling == curve.coupling && record.noise == curve.noise &&
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
      if (record.metric == "frechet_distance") {
        add_once(scores.networks, record.network);
        scores.bad_samples += record.bad_samples;
      }
      scores.records.push_back(std::move(record));
    }
  }
  for (const RunResults& run : runs) add_run(scores, run.run);
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

std::string spread_text(const Scores& scores) {
  std::int64_t seeds = 1, sampling_seeds = 1;
  for (const ScoreCurve& curve : scores.curves) {
    for (const auto& [nfe, score] : curve.scores) {
      seeds = std::max(seeds, score.seeds);
      sampling_seeds = std::max(sampling_seeds, score.sampling_seeds);
    }
  }
  std::string text;
  if (seeds > 1) text = fmt::format("mean ± standard deviation over {} training seeds", seeds);
  if (sampling_seeds > 1) {
    text += fmt::format("{}in [ ]: standard deviation over {} sampling seeds of one model", text.empty() ? "" : "; ",
                        sampling_seeds);
  }
  return text;
}

std::string frechet_title(const Scores& scores) {
  std::string title = "Fréchet distance";
  const char* between = ", ";
  for (const std::string& network : scores.networks) title += std::exchange(between, " / ") + network;
  return title;
}

std::string setting_text(const ScoreSummary& score) {
  std::string text = score.solver;
  if (!score.grid.empty()) text += ", " + score.grid;
  if (score.atol > 0 || score.rtol > 0) text += fmt::format(", atol {:g}, rtol {:g}", score.atol, score.rtol);
  if (score.guidance != 1) text += fmt::format(", guidance {:g}", score.guidance);
  if (score.guidance != 1 && (score.guidance_from > 0 || score.guidance_to < 1))
    text += fmt::format(" on [{:g}, {:g}]", score.guidance_from, score.guidance_to);
  return text;
}

}  // namespace couplet
