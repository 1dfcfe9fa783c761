#include "stages/report/score_table.h"

#include "stages/report/html/template.h"
#include "stages/report/sections/findings.h"
#include "stages/results/comparison.h"
#include "stages/results/metric_names.h"
#include "stages/results/restorations.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace couplet {

namespace {

/// A row's name and its cells by NFE.
struct Row {
  std::string name;
  std::map<std::int64_t, std::string> cells;
};

/// Characters, not bytes: what a UTF-8 terminal shows.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string padded(const std::string& text, std::size_t to, bool left) {
  const std::string space(to > width(text) ? to - width(text) : 0, ' ');
  return left ? text + space : space + text;
}

std::vector<Row> table_rows(const Scores& scores, const std::vector<Comparison>& comparisons) {
  std::vector<Row> rows;
  for (const ScoreCurve& curve : scores.curves) {
    Row row{curve.label(), {}};
    for (const auto& [nfe, score] : curve.scores) row.cells[nfe] = score_text(score) + " " + setting_letters(score);
    rows.push_back(std::move(row));
  }
  for (const Comparison& comparison : comparisons) {
    Row row{fmt::format("ratio {} / {}", comparison.baseline->model(), comparison.curve->model()), {}};
    for (const auto& [nfe, ratio] : comparison.ratio) row.cells[nfe] = fmt::format("{:.2f}   ", ratio);
    rows.push_back(std::move(row));
  }
  for (const ScoreCurve& curve : scores.curves) {
    Row row{"class accuracy, " + curve.label(), {}};
    for (const auto& [nfe, score] : curve.scores) {
      const auto accuracy = scores.in_setting(curve, nfe, score, "class_accuracy");
      if (accuracy) row.cells[nfe] = fmt::format("{:.3f}   ", accuracy->mean);
    }
    if (!row.cells.empty()) rows.push_back(std::move(row));
  }
  return rows;
}

/// Whole lines, the first with the names of the columns.
std::vector<std::string> layout(const std::vector<Row>& rows, const std::vector<std::int64_t>& nfe) {
  std::size_t first = 4;
  for (const Row& row : rows) first = std::max(first, width(row.name));
  std::string header = padded("NFE", first, true);
  std::vector<std::string> lines;
  for (const Row& row : rows) lines.push_back(padded(row.name, first, true));
  for (const std::int64_t count : nfe) {
    std::size_t column = std::to_string(count).size() + 3;
    for (const Row& row : rows) {
      const auto cell = row.cells.find(count);
      if (cell != row.cells.end()) column = std::max(column, width(cell->second));
    }
    header += "  " + padded(fmt::format("{}   ", count), column, false);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto cell = rows[i].cells.find(count);
      lines[i] += "  " + padded(cell == rows[i].cells.end() ? "-   " : cell->second, column, false);
    }
  }
  lines.insert(lines.begin(), header);
  return lines;
}

/// Whole lines: a model and its setting each, a metric a column.
std::vector<std::string> restoration_lines(const Scores& scores) {
  const Restorations table = restorations(scores);
  if (table.rows.empty()) return {};
  std::vector<std::vector<std::string>> cells{{"", ""}};
  for (const RestorationColumn& column : table.columns) cells.front().push_back(column.title);
  for (const Restoration& row : table.rows) {
    cells.push_back({row.model, row.setting});
    for (const auto& figure : row.figures) cells.back().push_back(figure ? restoration_text(*figure) : "-");
  }
  std::vector<std::string> lines(cells.size());
  for (std::size_t column = 0; column < cells.front().size(); ++column) {
    std::size_t widest = 0;
    for (const auto& row : cells) widest = std::max(widest, width(row[column]));
    const bool is_text = column < 2;
    for (std::size_t i = 0; i < cells.size(); ++i)
      lines[i] += (column == 0 ? "" : "  ") + padded(cells[i][column], widest, is_text);
  }
  return lines;
}

/// Counts the samples behind the score that has the most of them.
std::int64_t samples_behind(const Scores& scores) {
  std::int64_t samples = 0;
  for (const ScoreCurve& curve : scores.curves)
    for (const auto& [nfe, score] : curve.scores) samples = std::max(samples, score.samples);
  for (const ScoreLevels& levels : scores.levels)
    if (levels.teacher) samples = std::max(samples, levels.teacher->samples);
  return samples;
}

}  // namespace

std::string setting_letters(const ScoreSummary& score) {
  const auto letter = [](const std::string& name, const std::map<std::string, std::string>& known) {
    const auto found = known.find(name);
    return found == known.end() ? name : found->second;
  };
  return letter(score.solver, {{"euler", "E"},
                               {"heun", "H"},
                               {"heun-full", "F"},
                               {"midpoint", "M"},
                               {"rk4", "R"},
                               {"ancestral", "A"},
                               {"sde", "S"},
                               {"corrector", "C"}}) +
         letter(score.grid, {{"uniform", "u"}, {"squared", "s"}});
}

std::string score_table(const Scores& scores) {
  const std::vector<Comparison> comparisons = compare(scores);
  Json said = Json::array();
  for (const Comparison& comparison : comparisons) said.push_back(comparison_json(comparison));
  const std::int64_t samples = samples_behind(scores);
  const bool any = std::ranges::any_of(scores.levels, [](const auto& of) { return of.teacher || of.real; });
  const std::vector<std::string> lines =
      scores.curves.empty() ? std::vector<std::string>{} : layout(table_rows(scores, comparisons), scores.columns);
  return render(report_templates(), "score_table",
                {{"networks", scores.networks},
                 {"distance", metric_name(scores.distance).title},
                 {"has_levels_alone", lines.empty() && any},
                 {"lines", lines},
                 {"restorations", restoration_lines(scores)},
                 {"spread", spread_json(scores)},
                 {"samples", samples > 0 ? Json(samples) : Json()},
                 {"comparisons", said},
                 {"facts", facts_json(scores)}},
                Escape::none);
}

}  // namespace couplet
