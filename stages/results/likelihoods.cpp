#include "stages/results/likelihoods.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

namespace couplet {

namespace {

constexpr const char* likelihood_metrics[] = {"bits_per_dim", "noised_bits_per_dim", "nats"};

/// True if both are of one model: they differ in seeds at most.
bool same_model(const ScoreRecord& a, const ScoreRecord& b) {
  return a.metric == b.metric && a.run == b.run && a.model == b.model && a.student == b.student && a.ema == b.ema;
}

/// A record of each model that has a likelihood, teachers first.
std::vector<ScoreRecord> models(const Scores& scores) {
  std::vector<ScoreRecord> found;
  for (const ScoreRecord& record : scores.records) {
    if (std::ranges::find(likelihood_metrics, record.metric) == std::end(likelihood_metrics)) continue;
    if (std::ranges::none_of(found, [&](const ScoreRecord& other) { return same_model(record, other); }))
      found.push_back(record);
  }
  std::ranges::stable_partition(found, [](const ScoreRecord& record) { return record.model != "student"; });
  return found;
}

}  // namespace

std::string Likelihood::text() const {
  std::string text = fmt::format("{:.4g}", score.mean);
  if (score.seeds > 1) text += fmt::format(" ± {:.2g}", score.sd);
  if (score.uncertainty > 0) text += fmt::format(" ± {:.2g}{}", score.uncertainty, score.seeds > 1 ? " (images)" : "");
  return text;
}

std::vector<Likelihood> likelihoods(const Scores& scores) {
  const std::vector<ScoreRecord> found = models(scores);
  std::set<double> rates;
  for (const ScoreRecord& record : found)
    if (record.model == "student") rates.insert(record.ema);
  std::vector<Likelihood> all;
  for (const ScoreRecord& model : found) {
    const auto score = scores.summary([&](const ScoreRecord& record) { return same_model(record, model); });
    std::string name = model.model == "student" ? model.student
                       : model.model == "real"  ? "the data's own density"
                                                : model.model;
    if (model.model == "student" && rates.size() > 1) name += ema_text(model.ema);
    if (!model.run.empty()) name = model.run + ": " + name;
    all.push_back({name, model.metric, model.trace, *score});
  }
  return all;
}

}  // namespace couplet
