#include "stages/report/scores.h"

#include "storage/error.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

namespace couplet {

namespace {

template <class Value>
Value field(const nlohmann::json& record, std::size_t index, const char* name, Value otherwise) {
  const auto found = record.find(name);
  if (found == record.end() || found->is_null()) return otherwise;
  try {
    return found->get<Value>();
  } catch (const nlohmann::json::exception&) {
    fail("record {} of the results has {} = {}, which is of another type", index, name, found->dump());
  }
}

ScoreRecord read_record(const nlohmann::json& json, std::size_t index) {
  ScoreRecord record;
  const auto text = [&](const char* name) { return field<std::string>(json, index, name, ""); };
  record.model = text("model");
  record.coupling = text("coupling");
  record.solver = text("solver");
  record.grid = text("grid");
  record.metric = text("metric");
  record.noise = text("noise");
  record.split = text("split");
  record.network = text("network");
  record.seed = field<std::int64_t>(json, index, "seed", 0);
  record.nfe = field<std::int64_t>(json, index, "nfe", 0);
  record.samples = field<std::int64_t>(json, index, "samples", 0);
  record.bad_samples = field<std::int64_t>(json, index, "nonfinite_samples", 0);
  record.guidance = field<double>(json, index, "guidance", 1);
  record.denoised = field<bool>(json, index, "denoised", false);
  record.value = field<double>(json, index, "value", std::nan(""));
  if (record.model == "student" && record.noise.empty()) record.noise = "fresh";
  return record;
}

void add_once(std::vector<std::string>& list, const std::string& value) {
  if (!value.empty() && std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
}

ScoreSummary over_seeds(const std::map<std::int64_t, const ScoreRecord*>& by_seed) {
  ScoreSummary score;
  const ScoreRecord& any = *by_seed.begin()->second;
  score.seeds = static_cast<std::int64_t>(by_seed.size());
  score.samples = any.samples;
  score.solver = any.solver;
  score.grid = any.grid;
  score.guidance = any.guidance;
  const double n = static_cast<double>(by_seed.size());
  for (const auto& [seed, record] : by_seed) score.mean += record->value / n;
  if (by_seed.size() < 2) return score;
  double squares = 0;
  for (const auto& [seed, record] : by_seed) squares += (record->value - score.mean) * (record->value - score.mean);
  score.sd = std::sqrt(squares / (n - 1));
  return score;
}

using Setting = std::tuple<std::string, std::string, double>;  // solver, grid, guidance

Setting setting_of(const ScoreRecord& record) {
  return {record.solver, record.grid, record.guidance};
}

/// The best setting at each NFE: the lowest mean among those that the most seeds have been scored with.
ScoreCurve best_curve(const std::vector<ScoreRecord>& records, const std::string& coupling, const std::string& noise) {
  std::map<std::int64_t, std::map<Setting, std::map<std::int64_t, const ScoreRecord*>>> by_nfe;
  for (const ScoreRecord& record : records) {
    if (record.model != "student" || record.metric != "frechet_distance") continue;
    if (record.coupling != coupling || record.noise != noise) continue;
    by_nfe[record.nfe][setting_of(record)][record.seed] = &record;
  }
  ScoreCurve curve{coupling, noise, {}};
  for (const auto& [nfe, settings] : by_nfe) {
    std::optional<ScoreSummary> best;
    for (const auto& [setting, by_seed] : settings) {
      const ScoreSummary score = over_seeds(by_seed);
      const bool better = best && (score.seeds != best->seeds ? score.seeds > best->seeds : score.mean < best->mean);
      if (!best || better) best = score;
    }
    curve.scores[nfe] = *best;
  }
  return curve;
}

std::vector<std::string> coupling_order(const std::vector<ScoreRecord>& records) {
  std::vector<std::string> couplings;
  for (const ScoreRecord& record : records) {
    if (record.model == "student") add_once(couplings, record.coupling);
  }
  std::stable_partition(couplings.begin(), couplings.end(), [](const auto& name) { return name == "independent"; });
  return couplings;
}

}  // namespace

std::string ScoreCurve::label() const {
  return noise == "table" ? coupling + ", from held-out table z" : coupling;
}

const ScoreCurve* Scores::curve(const std::string& coupling, const std::string& noise) const {
  for (const ScoreCurve& candidate : curves) {
    if (candidate.coupling == coupling && candidate.noise == noise) return &candidate;
  }
  return nullptr;
}

std::optional<ScoreSummary> Scores::summary(const std::function<bool(const ScoreRecord&)>& wanted) const {
  std::map<std::int64_t, const ScoreRecord*> by_seed;
  for (const ScoreRecord& record : records) {
    if (wanted(record)) by_seed[record.seed] = &record;
  }
  if (by_seed.empty()) return std::nullopt;
  return over_seeds(by_seed);
}

std::optional<ScoreSummary> Scores::in_setting(const ScoreCurve& curve, std::int64_t nfe, const ScoreSummary& setting,
                                               const std::string& metric) const {
  const Setting wanted{setting.solver, setting.grid, setting.guidance};
  return summary([&](const ScoreRecord& record) {
    return record.model == "student" && record.metric == metric && record.coupling == curve.coupling &&
           record.noise == curve.noise && record.nfe == nfe && setting_of(record) == wanted;
  });
}

Scores read_scores(const nlohmann::json& results) {
  Scores scores;
  const auto found = results.find("records");
  if (found == results.end()) return scores;
  std::size_t index = 0;
  for (const nlohmann::json& json : *found) {
    ScoreRecord record = read_record(json, index++);
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
  std::set<std::int64_t> counts;
  for (const std::string& coupling : coupling_order(scores.records)) {
    for (const char* noise : {"fresh", "table"}) {
      ScoreCurve curve = best_curve(scores.records, coupling, noise);
      if (curve.scores.empty()) continue;
      for (const auto& [nfe, score] : curve.scores) counts.insert(nfe);
      scores.curves.push_back(std::move(curve));
    }
  }
  scores.columns.assign(counts.begin(), counts.end());
  const auto frechet = [&](const char* model, bool denoised) {
    return scores.summary([&](const ScoreRecord& record) {
      return record.metric == "frechet_distance" && record.model == model && record.denoised == denoised;
    });
  };
  scores.teacher = frechet("teacher", false);
  scores.teacher_denoised = frechet("teacher", true);
  scores.real = frechet("real", false);
  return scores;
}

std::string number_text(double value) {
  const double size = std::abs(value);
  if (value == 0) return "0";
  if (size < 1e-4 || size >= 1e6) return fmt::format("{:.2e}", value);
  const int before = static_cast<int>(std::floor(std::log10(size)));
  return fmt::format("{:.{}f}", value, std::max(0, 2 - before));
}

std::string score_text(const ScoreSummary& score) {
  if (score.seeds < 2) return number_text(score.mean);
  return fmt::format("{} ± {}", number_text(score.mean), fmt::format("{:.2g}", score.sd));
}

std::string frechet_title(const Scores& scores) {
  std::string title = "Fréchet distance";
  for (const std::string& network : scores.networks) title += (title.size() > 17 ? " / " : ", ") + network;
  return title;
}

}  // namespace couplet
