#include "stages/results/likelihood.h"

#include <fmt/format.h>

#include <algorithm>

namespace couplet {

namespace {

/// The models that have a likelihood: run, model, coupling; teachers first.
std::vector<ScoreRecord> models(const Scores& scores) {
  std::vector<ScoreRecord> found;
  const auto same = [](const ScoreRecord& a, const ScoreRecord& b) {
    return a.run == b.run && a.model == b.model && a.coupling == b.coupling && a.metric == b.metric;
  };
  for (const ScoreRecord& record : scores.records) {
    if (record.metric != "bits_per_dim" && record.metric != "noised_bits_per_dim") continue;
    if (std::ranges::none_of(found, [&](const ScoreRecord& other) { return same(record, other); }))
      found.push_back(record);
  }
  std::ranges::stable_partition(found, [](const ScoreRecord& record) { return record.model == "teacher"; });
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
  std::vector<Likelihood> all;
  for (const ScoreRecord& model : models(scores)) {
    const auto score = scores.summary([&](const ScoreRecord& record) {
      return record.metric == model.metric && record.run == model.run && record.model == model.model &&
             record.coupling == model.coupling;
    });
    std::string name = model.model == "student" ? model.coupling : model.model;
    if (!model.run.empty()) name = model.run + ": " + name;
    all.push_back({name, model.metric, model.trace, *score});
  }
  return all;
}

}  // namespace couplet
