#include "stages/report/sections/findings.h"

#include "stages/results/likelihoods.h"
#include "stages/results/metric_names.h"
#include "stages/results/noise_gaps.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

namespace couplet {

namespace {

Json optional_figure(const std::optional<ScoreSummary>& score) {
  return score ? figure(*score) : Json();
}

/// Gathers facts as they are found; those without figures are left out.
class Facts {
public:
  void add(Json fact, const char* figures) {
    if (!fact.at(figures).empty()) all_.push_back(std::move(fact));
  }
  void add(Json fact) { all_.push_back(std::move(fact)); }
  Json all() && { return std::move(all_); }

private:
  Json all_ = Json::array();
};

/// Fresh noise beside the teacher's own noise of held-out images, with equal solver and grid: the difference is the
/// teacher's error.
Json prior_mismatch(const Scores& scores, const ScoreCurve& fresh) {
  Json pairs = Json::array();
  if (const ScoreCurve* table = scores.from_noise("table", fresh)) {
    for (const auto& [nfe, other] : table->scores) {
      const auto same = scores.in_setting(fresh, nfe, other, scores.distance);
      if (!same) continue;
      pairs.push_back({{"nfe", nfe},
                       {"fresh", figure(same->mean, number_text(same->mean))},
                       {"table", figure(other.mean, number_text(other.mean))}});
    }
  }
  return {{"kind", "prior_mismatch"}, {"model", fresh.model()}, {"pairs", pairs}};
}

/// A metric of all curves that have it.
Json of_curves(const Scores& scores, const std::string& metric) {
  Json models = Json::array();
  for (const ScoreCurve& curve : scores.curves) {
    const auto found = scores.of_curve(curve, metric);
    if (found) models.push_back({{"name", curve.label()}, {"score", figure(*found)}});
  }
  return {{"kind", metric}, {"models", models}};
}

Json pairing(const Scores& scores, const ScoreCurve& curve) {
  Json figures = Json::array();
  for (const char* split : {"train", "test"}) {
    const auto add = [&](const char* metric, auto text) {
      const auto found = scores.summary([&](const ScoreRecord& record) {
        return record.metric == metric && curve.is_of(record) && record.split == split;
      });
      if (found)
        figures.push_back({{"kind", metric}, {"split", split}, {"score", figure(found->mean, text(found->mean))}});
    };
    add("pairing_distance_ratio", number_text);
    add("pairing_nearest_rate", [](double rate) { return fmt::format("{:.1f} %", 100 * rate); });
    add("psnr", [](double psnr) { return fmt::format("{:.2f} dB", psnr); });
    add("ssim", [](double ssim) { return fmt::format("{:.3f}", ssim); });
  }
  return {{"kind", "pairing"}, {"model", curve.model()}, {"figures", figures}};
}

/// Gathers the accuracies of teacher and held-out images, which have no NFE.
Json class_accuracy(const Scores& scores, const std::string& run) {
  Json models = Json::array();
  const auto add = [&](const char* kind, const std::string& model, bool denoised) {
    const auto found = scores.summary([&](const ScoreRecord& record) {
      return record.metric == "class_accuracy" && record.run == run && record.model == model &&
             record.denoised == denoised;
    });
    if (found) models.push_back({{"kind", kind}, {"score", figure(found->mean, fmt::format("{:.3f}", found->mean))}});
  };
  add("teacher", "teacher", false);
  add("teacher_denoised", "teacher", true);
  add("real", "real", false);
  return {{"kind", "class_accuracy"}, {"run", run}, {"models", models}};
}

Json likelihood_fact(const Scores& scores, const std::string& metric) {
  Json models = Json::array();
  for (const Likelihood& found : likelihoods(scores))
    if (found.metric == metric)
      models.push_back({{"name", found.model}, {"score", figure(found.score.mean, found.text())}});
  return {{"kind", metric}, {"models", models}};
}

/// What was measured of a table's noise: of held-out rows where there are some.
Json prior_gap_fact(const NoiseGap& gap) {
  Json figures = Json::array();
  for (const char* metric : {"class_mean_nats", "class_deviation_nats", "covariance_nats", "class_covariance_nats",
                             "noise_log_ratio", "nats_closed", "noise_square", "noise_kurtosis", "noise_auc"})
    if (const ScoreRecord* record = gap.find(metric)) figures.push_back({{"kind", metric}, {"score", figure(*record)}});
  const ScoreRecord* overfitting = gap.overfitting();
  return {{"kind", "prior_gap"}, {"run", gap.run},
          {"table", gap.table},  {"held_out", gap.split == "test"},
          {"figures", figures},  {"overfitting", overfitting ? figure(*overfitting) : Json()}};
}

void add_levels(Facts& facts, const ScoreLevels& levels) {
  if (levels.teacher || levels.teacher_denoised)
    facts.add({{"kind", "teacher"},
               {"run", levels.run},
               {"sampled", optional_figure(levels.teacher)},
               {"denoised", optional_figure(levels.teacher_denoised)}});
  if (levels.real) facts.add({{"kind", "real"}, {"run", levels.run}, {"score", figure(*levels.real)}});
}

Json crossings_json(const Comparison& comparison) {
  Json crossings = Json::array();
  for (const Crossing& crossing : comparison.crossings)
    crossings.push_back({{"before", crossing.before},
                         {"after", crossing.after},
                         {"at", figure(crossing.at, fmt::format("{:.1f}", crossing.at))}});
  return crossings;
}

}  // namespace

Json figure(double value, const std::string& text) {
  return {{"value", value}, {"text", text}};
}

Json figure(const ScoreRecord& record) {
  return figure(record.value,
                number_text(record.value) +
                    (record.uncertainty > 0 ? fmt::format(" ± {:.2g}", record.uncertainty) : std::string()));
}

Json figure(const ScoreSummary& score) {
  return figure(score.mean, score_text(score));
}

Json score_json(std::int64_t nfe, const ScoreSummary& score) {
  return {{"nfe", nfe},
          {"value", score.mean},
          {"text", score_text(score)},
          {"setting", setting_text(score)},
          {"solver", score.solver},
          {"grid", score.grid},
          {"guidance", score.guidance},
          {"temperature", score.temperature},
          {"candidates", score.candidates},
          {"training_seeds", score.seeds},
          {"training_sd", score.sd},
          {"sampling_seeds", score.sampling_seeds},
          {"sampling_sd", score.sampling_sd},
          {"samples", score.samples}};
}

Json confidence_json(const Comparison& comparison) {
  const bool trained = comparison.seeds > 1, sampled = comparison.sampling_seeds > 1;
  return {{"training_seeds", comparison.seeds}, {"sampling_seeds", comparison.sampling_seeds},
          {"over_training", trained},           {"over_sampling", sampled},
          {"measured", trained || sampled},     {"unclear_at", comparison.unclear()}};
}

Json comparison_json(const Comparison& comparison) {
  const std::int64_t best = comparison.best();
  const ScoreCurve &curve = *comparison.curve, &baseline = *comparison.baseline;
  Json ratios = Json::array();
  for (const auto& [nfe, ratio] : comparison.ratio)
    ratios.push_back({{"nfe", nfe}, {"value", ratio}, {"clear", comparison.clear.at(nfe)}});
  const double ours = curve.scores.at(best).mean, theirs = baseline.scores.at(best).mean;
  return {{"student", curve.model()},
          {"baseline", baseline.model()},
          {"distance", metric_name(curve.distance).title},
          {"ratios", ratios},
          {"first_nfe", comparison.ratio.begin()->first},
          {"last_nfe", comparison.ratio.rbegin()->first},
          {"several_nfe", comparison.ratio.size() > 1},
          {"level", comparison.level()},
          {"won_at", comparison.won()},
          {"lost_at", comparison.lost()},
          {"won_everywhere", comparison.ratio.size() > 1 && comparison.won().size() == comparison.ratio.size()},
          {"best",
           {{"nfe", best},
            {"ratio", figure(comparison.ratio.at(best), number_text(comparison.ratio.at(best)))},
            {"student_score", figure(ours, number_text(ours))},
            {"baseline_score", figure(theirs, number_text(theirs))}}},
          {"crossings", crossings_json(comparison)},
          {"confidence", confidence_json(comparison)}};
}

Json spread_json(const Scores& scores) {
  const SeedCounts most = seed_counts(scores);
  if (most.training < 2 && most.sampling < 2) return nullptr;
  return {{"training_seeds", most.training > 1 ? Json(most.training) : Json()},
          {"sampling_seeds", most.sampling > 1 ? Json(most.sampling) : Json()}};
}

Json facts_json(const Scores& scores) {
  Facts facts;
  for (const ScoreLevels& levels : scores.levels) add_levels(facts, levels);
  for (const NoiseGap& gap : noise_gaps(scores))
    if (gap.is_shown) facts.add(prior_gap_fact(gap), "figures");
  for (const ScoreCurve& curve : scores.curves)
    if (curve.noise == "fresh") facts.add(prior_mismatch(scores, curve), "pairs");
  for (const char* metric : {"curvature", "straightness", "transport_cost"})
    facts.add(of_curves(scores, metric), "models");
  for (const ScoreCurve& curve : scores.curves)
    if (curve.noise == "fresh") facts.add(pairing(scores, curve), "figures");
  for (const ScoreCurve& curve : scores.curves) {
    const auto distance = scores.of_curve(curve, "teacher_distance");
    if (distance) facts.add({{"kind", "teacher_distance"}, {"model", curve.label()}, {"score", figure(*distance)}});
  }
  for (const char* metric : {"bits_per_dim", "noised_bits_per_dim", "nats"})
    facts.add(likelihood_fact(scores, metric), "models");
  for (const ScoreLevels& levels : scores.levels) facts.add(class_accuracy(scores, levels.run), "models");
  if (scores.bad_samples > 0) facts.add({{"kind", "bad_samples"}, {"count", scores.bad_samples}});
  if (scores.not_finite > 0) facts.add({{"kind", "not_finite"}, {"count", scores.not_finite}});
  return std::move(facts).all();
}

}  // namespace couplet
