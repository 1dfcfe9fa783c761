#include "stages/report/html/plot.h"
#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"
#include "stages/results/likelihoods.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

namespace {

/// Solvers that add noise, whose distances are no matter of the same ODE.
constexpr std::array stochastic_solvers{"ancestral", "sde", "corrector"};

bool adds_noise(const std::string& solver) {
  return std::ranges::find(stochastic_solvers, solver) != stochastic_solvers.end();
}

bool is_distance(const ScoreRecord& record, const ScoreCurve& curve) {
  return record.metric == curve.distance && record.noise == "fresh" && curve.is_of(record);
}

/// A model by the adaptive solver at its tightest tolerance, and its likelihood: a row of the table of arXiv
/// 2210.02747.
struct ModelRow {
  const ScoreCurve* curve = nullptr;
  std::optional<ScoreSummary> bits, distance;
};

std::optional<ScoreSummary> adaptive_distance(const Scores& scores, const ScoreCurve& curve) {
  std::set<std::pair<double, double>> tolerances;
  for (const ScoreRecord& record : scores.records)
    if (is_distance(record, curve) && record.adaptive()) tolerances.emplace(record.atol, record.rtol);
  if (tolerances.empty()) return std::nullopt;
  return scores.summary([&](const ScoreRecord& record) {
    return is_distance(record, curve) && std::pair(record.atol, record.rtol) == *tolerances.begin();
  });
}

std::vector<ModelRow> model_rows(const Scores& scores) {
  std::vector<ModelRow> rows;
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    ModelRow row{&curve, scores.of_curve(curve, "bits_per_dim"), adaptive_distance(scores, curve)};
    if (row.distance) rows.push_back(std::move(row));
  }
  return rows;
}

/// The figure with whether it is the lowest of several.
Json marked(std::optional<double> value, const std::string& text, const std::vector<double>& others) {
  if (!value) return nullptr;
  Json json = figure(*value, text);
  json["best"] = others.size() > 1 && *value == *std::ranges::min_element(others);
  return json;
}

Json models_json(const Page& page) {
  const std::vector<ModelRow> rows = model_rows(page.scores);
  std::vector<double> bits, distances, evaluations;
  for (const ModelRow& row : rows) {
    if (row.bits) bits.push_back(row.bits->mean);
    distances.push_back(row.distance->mean);
    evaluations.push_back(static_cast<double>(row.distance->nfe));
  }
  Json models = Json::array();
  for (const ModelRow& row : rows) {
    const std::string text = row.bits ? Likelihood{"", "bits_per_dim", "", *row.bits}.text() : "";
    models.push_back(
        {{"name", row.curve->label()},
         {"colour", page.colour(row.curve->run, row.curve->student)},
         {"bits", row.bits ? marked(row.bits->mean, text, bits) : Json()},
         {"distance", marked(row.distance->mean, score_text(*row.distance), distances)},
         {"nfe", marked(static_cast<double>(row.distance->nfe), fmt::format("{}", row.distance->nfe), evaluations)},
         {"setting", setting_text(*row.distance)}});
  }
  return models;
}

/// The lowest mean distance at each NFE of fixed steps, over the grids and over the solvers that `takes` accepts.
template <class Takes>
PlotLine fixed_line(const Scores& scores, const ScoreCurve& curve, const Takes& takes) {
  std::map<std::int64_t, ScoreSummary> best;
  for (const ScoreRecord& record : scores.records) {
    if (!is_distance(record, curve) || record.adaptive() || !takes(record.solver)) continue;
    const auto found = scores.summary([&](const ScoreRecord& other) {
      return is_distance(other, curve) && other.solver == record.solver && other.grid == record.grid &&
             other.nfe == record.nfe;
    });
    const auto [at, is_first] = best.try_emplace(record.nfe, *found);
    if (!is_first && found->mean < at->second.mean) at->second = *found;
  }
  PlotLine line;
  for (const auto& [nfe, score] : best)
    line.points.push_back({static_cast<double>(nfe), score.mean, score.sd, score.sampling_sd});
  return line;
}

/// Distance against NFE of fixed steps: a line a student, and a dashed one for each sampler that adds noise.
Plot distance_plot(const Page& page) {
  Plot plot;
  plot.log_x = plot.log_y = true;
  const auto add = [&](const ScoreCurve& curve, const std::string& name, int form, PlotLine line) {
    if (line.points.empty()) return;
    line.name = name;
    line.colour = page.colour(curve.run, curve.student);
    line.dashed = form > 0;
    line.form = form;
    plot.lines.push_back(std::move(line));
  };
  for (const ScoreCurve& curve : page.scores.curves) {
    if (curve.noise != "fresh") continue;
    add(curve, curve.label(), 0,
        fixed_line(page.scores, curve, [](const std::string& solver) { return !adds_noise(solver); }));
    for (int i = 0; i < static_cast<int>(stochastic_solvers.size()); ++i) {
      const std::string wanted = stochastic_solvers.at(static_cast<std::size_t>(i));
      add(curve, curve.label() + ", " + wanted, i + 1,
          fixed_line(page.scores, curve, [&](const std::string& solver) { return solver == wanted; }));
    }
  }
  return plot;
}

/// What dopri5 made of its tolerances, by tolerance, of one student.
struct ToleranceErrors {
  const ScoreCurve* curve = nullptr;
  std::map<double, ScoreSummary> errors;
};

std::vector<ToleranceErrors> tolerance_errors(const Scores& scores) {
  std::vector<ToleranceErrors> all;
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    ToleranceErrors found{&curve, {}};
    for (const ScoreRecord& record : scores.records) {
      if (record.metric != "solver_error" || !curve.is_of(record)) continue;
      found.errors[record.rtol] = *scores.summary([&](const ScoreRecord& other) {
        return other.metric == "solver_error" && curve.is_of(other) && other.rtol == record.rtol;
      });
    }
    if (!found.errors.empty()) all.push_back(std::move(found));
  }
  return all;
}

template <class Value>
Plot tolerance_plot(const Page& page, const std::vector<ToleranceErrors>& all, const Value& value) {
  Plot plot;
  plot.log_x = plot.log_y = true;
  for (const auto& [curve, errors] : all) {
    PlotLine line{curve->label(), {}, page.colour(curve->run, curve->student)};
    for (const auto& [tolerance, error] : errors) line.points.push_back({tolerance, value(error)});
    plot.lines.push_back(std::move(line));
  }
  return plot;
}

Json errors_json(const Page& page) {
  const std::vector<ToleranceErrors> all = tolerance_errors(page.scores);
  if (all.empty()) return nullptr;
  std::set<double, std::greater<>> tolerances;
  for (const ToleranceErrors& of_student : all)
    for (const auto& [tolerance, error] : of_student.errors) tolerances.insert(tolerance);
  Json columns = Json::array(), rows = Json::array();
  for (const double tolerance : tolerances) columns.push_back(figure(tolerance, fmt::format("{:g}", tolerance)));
  for (const auto& [curve, errors] : all) {
    Json cells = Json::array();
    for (const double tolerance : tolerances) {
      const auto found = errors.find(tolerance);
      const bool there = found != errors.end();
      cells.push_back({{"error", there ? figure(found->second.mean, number_text(found->second.mean)) : Json()},
                       {"nfe", there ? Json(found->second.nfe) : Json()}});
    }
    rows.push_back({{"name", curve->label()}, {"cells", std::move(cells)}});
  }
  const auto error_of = [](const ScoreSummary& error) { return error.mean; };
  const auto nfe_of = [](const ScoreSummary& error) { return static_cast<double>(error.nfe); };
  return {{"tolerances", std::move(columns)},
          {"rows", std::move(rows)},
          {"samples", all.front().errors.begin()->second.samples},
          {"error_plot", plot_json(tolerance_plot(page, all, error_of))},
          {"nfe_plot", plot_json(tolerance_plot(page, all, nfe_of))}};
}

}  // namespace

Json efficiency_section(const Page& page) {
  const bool has_noise = std::ranges::any_of(page.scores.records, [&](const ScoreRecord& record) {
    return record.metric == page.scores.distance && adds_noise(record.solver);
  });
  Json models = models_json(page), errors = errors_json(page);
  if (models.empty() && errors.is_null() && !has_noise) return nullptr;
  return {{"models", std::move(models)}, {"plot", plot_json(distance_plot(page))}, {"errors", std::move(errors)}};
}

}  // namespace couplet
