#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

namespace couplet {

namespace {

/// The metrics of samples that there are: those known in their order, then others.
std::vector<MetricName> metrics_of(const Scores& scores) {
  std::vector<MetricName> found;
  const auto has = [&](const std::string& metric) {
    return std::ranges::any_of(scores.records, [&](const ScoreRecord& record) { return record.metric == metric; });
  };
  for (const MetricName& name : sample_metrics()) {
    if (has(name.metric)) found.push_back(name);
  }
  const auto known = [&](const std::string& metric) {
    const auto is = [&](const MetricName& name) { return name.metric == metric; };
    return std::ranges::any_of(found, is) || std::ranges::any_of(model_metrics(), is) ||
           std::ranges::any_of(restoration_metrics(), is);
  };
  for (const ScoreRecord& record : scores.records) {
    if (!known(record.metric)) found.push_back(metric_name(record.metric));
  }
  return found;
}

std::string with_uncertainty(const ScoreSummary& score) {
  std::string text = score_text(score);
  if (score.uncertainty > 0 && score.seeds < 2 && score.sampling_seeds < 2)
    text += fmt::format(" ({:.2g})", score.uncertainty);
  return text;
}

/// A curve's scores in the settings where its Fréchet distance was best, by NFE.
std::vector<std::optional<ScoreSummary>> curve_scores(const Scores& scores, const ScoreCurve& curve,
                                                      const std::string& metric) {
  std::vector<std::optional<ScoreSummary>> found;
  for (const std::int64_t nfe : scores.columns) {
    const auto setting = curve.scores.find(nfe);
    found.push_back(setting == curve.scores.end() ? std::nullopt
                                                  : scores.in_setting(curve, nfe, setting->second, metric));
  }
  return found;
}

/// The best mean of each column among curves from fresh noise; nothing where a metric has no better, or nobody to
/// compare with.
std::vector<std::optional<double>> best_means(const Scores& scores, const MetricName& metric) {
  std::vector<std::vector<double>> means(scores.columns.size());
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    const auto found = curve_scores(scores, curve, metric.metric);
    for (std::size_t i = 0; i < found.size(); ++i)
      if (found[i]) means[i].push_back(found[i]->mean);
  }
  std::vector<std::optional<double>> best(means.size());
  for (std::size_t i = 0; i < means.size(); ++i) {
    if (means[i].size() < 2 || metric.better == Better::neither) continue;
    const auto [lowest, highest] = std::ranges::minmax(means[i]);
    best[i] = metric.better == Better::lower ? lowest : highest;
  }
  return best;
}

/// Gathers a metric of teacher and held-out images, which have no NFE.
Json levels_json(const Scores& scores, const std::string& metric) {
  Json all = Json::array();
  for (const ScoreLevels& levels : scores.levels) {
    for (const auto& [kind, model, denoised] :
         {std::tuple{"teacher", "teacher", false}, {"teacher_denoised", "teacher", true}, {"real", "real", false}}) {
      const auto found = scores.summary([&, m = std::string(model), d = denoised](const ScoreRecord& record) {
        return record.metric == metric && record.run == levels.run && record.model == m && record.denoised == d;
      });
      if (found)
        all.push_back({{"kind", kind}, {"run", levels.run}, {"score", figure(found->mean, with_uncertainty(*found))}});
    }
  }
  return all;
}

Json metric_json(const Scores& scores, const MetricName& metric) {
  const auto best_mean = best_means(scores, metric);
  Json curves = Json::array();
  for (const ScoreCurve& curve : scores.curves) {
    const auto found = curve_scores(scores, curve, metric.metric);
    if (std::ranges::none_of(found, [](const auto& score) { return score.has_value(); })) continue;
    Json cells = Json::array();
    for (std::size_t i = 0; i < found.size(); ++i) {
      const bool best = found[i] && curve.noise == "fresh" && best_mean[i] == found[i]->mean;
      cells.push_back({{"nfe", scores.columns[i]},
                       {"score", found[i] ? figure(found[i]->mean, with_uncertainty(*found[i])) : Json()},
                       {"best", best}});
    }
    curves.push_back({{"name", curve.label()}, {"cells", std::move(cells)}});
  }
  return {{"kind", metric.metric},
          {"title", metric.title},
          {"lower_is_better", metric.better == Better::lower},
          {"higher_is_better", metric.better == Better::higher},
          {"levels", levels_json(scores, metric.metric)},
          {"curves", std::move(curves)}};
}

}  // namespace

Json other_metrics_section(const Page& page) {
  Json metrics = Json::array();
  for (const MetricName& metric : metrics_of(page.scores)) metrics.push_back(metric_json(page.scores, metric));
  if (metrics.empty()) return nullptr;
  return {{"nfe", page.scores.columns}, {"columns", page.scores.columns.size() + 1}, {"metrics", std::move(metrics)}};
}

}  // namespace couplet
