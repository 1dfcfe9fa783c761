#include "stages/report/html.h"

#include "pipeline/log.h"
#include "stages/report/comparison.h"
#include "stages/report/facts.h"
#include "stages/report/plot.h"
#include "stages/report/scores.h"
#include "stages/report/style.h"
#include "storage/atomic_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <utility>

namespace couplet {

namespace {

constexpr int colour_teacher = 7, colour_denoised = 6, colour_real = 5;

/// Base64 (RFC 4648) for pictures inside the page.
std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? digits[group >> (18U - 6U * k) & 63U] : '=';
  }
  return text;
}

/// Each coupling's place in the order of first appearance: its colour everywhere on the page.
int colour_of(const Scores& scores, const std::string& coupling) {
  std::vector<std::string> seen;
  for (const ScoreCurve& curve : scores.curves) {
    if (std::find(seen.begin(), seen.end(), curve.coupling) == seen.end()) seen.push_back(curve.coupling);
  }
  return static_cast<int>(std::find(seen.begin(), seen.end(), coupling) - seen.begin());
}

std::string setting_text(const ScoreSummary& score) {
  return score.grid.empty() ? score.solver : fmt::format("{}, {}", score.solver, score.grid);
}

std::string paragraph(const std::string& text) {
  return text.empty() ? "" : "<p>" + escaped(text) + "</p>\n";
}

std::string headline(const Scores& scores, const std::vector<Comparison>& comparisons) {
  std::string html;
  for (const Comparison& comparison : comparisons) html += paragraph(comparison.sentence(scores));
  if (html.empty()) html = paragraph("No two couplings have been scored at the same NFE yet.");
  return "<div class=\"headline\" role=\"note\" aria-label=\"Finding\">\n" + html + "</div>\n";
}

/// The plot in words, for its description.
std::string curves_in_words(const Scores& scores) {
  std::string text;
  for (const ScoreCurve& curve : scores.curves) {
    text += curve.label() + ":";
    for (const auto& [nfe, score] : curve.scores) text += fmt::format(" {} at NFE {},", score_text(score), nfe);
    text.back() = '.';
    text += ' ';
  }
  return text;
}

std::string score_plot(const Scores& scores) {
  Plot plot;
  plot.title = frechet_title(scores) + ", against the number of evaluations of the network";
  plot.description = curves_in_words(scores);
  plot.x_label = "NFE: network evaluations a sample";
  plot.y_label = "Fréchet distance";
  plot.log_x = plot.log_y = true;
  for (const std::int64_t nfe : scores.columns) plot.x_ticks.push_back(static_cast<double>(nfe));
  for (const ScoreCurve& curve : scores.curves) {
    PlotLine line{curve.label(), {}, colour_of(scores, curve.coupling), curve.noise == "table", true};
    for (const auto& [nfe, score] : curve.scores)
      line.points.push_back({static_cast<double>(nfe), score.mean, score.sd});
    plot.lines.push_back(std::move(line));
  }
  if (scores.teacher) plot.levels.push_back({"teacher, as sampled", scores.teacher->mean, colour_teacher});
  if (scores.teacher_denoised)
    plot.levels.push_back({"teacher, denoised", scores.teacher_denoised->mean, colour_denoised});
  if (scores.real) plot.levels.push_back({"real test images", scores.real->mean, colour_real});
  const std::string svg = svg_plot(plot);
  if (svg.empty()) return "";
  return "<figure>" + svg + "<figcaption>" + escaped(frechet_title(scores)) +
         "; lower is better. Both axes are logarithmic. Every point is the best of the solvers and time grids scored "
         "at that NFE"
         "; bars are standard deviations over training seeds.</figcaption></figure>\n";
}

/// The lowest mean in a column among curves from fresh noise.
double best_at(const Scores& scores, std::int64_t nfe) {
  double best = std::numeric_limits<double>::infinity();
  for (const ScoreCurve& curve : scores.curves) {
    const auto score = curve.scores.find(nfe);
    if (curve.noise == "fresh" && score != curve.scores.end()) best = std::min(best, score->second.mean);
  }
  return best;
}

std::string best_table(const Scores& scores, const std::vector<Comparison>& comparisons) {
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\"><table class=\"rows\"><caption>" + escaped(frechet_title(scores)) +
      " by NFE; the best coupling from fresh noise is marked</caption>\n<thead><tr><th scope=\"col\">NFE</th>";
  for (const std::int64_t nfe : scores.columns) html += fmt::format("<th scope=\"col\">{}</th>", nfe);
  html += "</tr></thead>\n<tbody>\n";
  for (const ScoreCurve& curve : scores.curves) {
    html += "<tr><th scope=\"row\">" + escaped(curve.label()) + "</th>";
    for (const std::int64_t nfe : scores.columns) {
      const auto found = curve.scores.find(nfe);
      if (found == curve.scores.end()) {
        html += "<td>–</td>";
        continue;
      }
      const bool best = curve.noise == "fresh" && found->second.mean <= best_at(scores, nfe);
      html += fmt::format("<td{}>{}<small>{}</small></td>", best ? " class=\"best\"" : "",
                          escaped(score_text(found->second)), escaped(setting_text(found->second)));
    }
    html += "</tr>\n";
  }
  for (const Comparison& comparison : comparisons) {
    html += fmt::format("<tr><th scope=\"row\">ratio {} / {}</th>", escaped(comparison.baseline),
                        escaped(comparison.coupling));
    for (const std::int64_t nfe : scores.columns) {
      const auto ratio = comparison.ratio.find(nfe);
      html += ratio == comparison.ratio.end() ? "<td>–</td>" : fmt::format("<td>{:.2f}</td>", ratio->second);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string facts_table(const Scores& scores, const std::vector<Comparison>& comparisons) {
  std::string html;
  for (const Comparison& comparison : comparisons) html += paragraph(comparison.crossing_text());
  const std::vector<Fact> facts = score_facts(scores);
  if (facts.empty()) return html;
  html += "<table class=\"facts\"><caption>What stands beside the curves</caption><tbody>\n";
  for (const Fact& fact : facts) {
    html += "<tr><th scope=\"row\" class=\"text\">" + escaped(fact.name) + "</th><td class=\"text\">" +
            escaped(fact.text) + "</td></tr>\n";
  }
  return html + "</tbody></table>\n";
}

std::string all_scores(const Scores& scores) {
  std::string html = fmt::format(
      "<details><summary>All {} scores, with solver, grid, seed, samples</summary>\n<div class=\"scroll\" "
      "tabindex=\"0\"><table>"
      "<thead><tr>",
      scores.records.size());
  for (const char* name : {"model", "coupling", "noise", "metric", "NFE", "solver", "grid", "split", "seed", "guidance",
                           "samples", "network", "value"}) {
    html += fmt::format("<th scope=\"col\">{}</th>", name);
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const ScoreRecord& record : scores.records) {
    const std::string model = record.model + (record.denoised ? ", denoised" : "");
    html += "<tr>";
    for (const std::string& text :
         {model, record.coupling, record.noise, record.metric, record.nfe > 0 ? std::to_string(record.nfe) : "",
          record.solver, record.grid, record.split, std::to_string(record.seed), fmt::format("{:g}", record.guidance),
          std::to_string(record.samples), record.network, fmt::format("{:.8g}", record.value)}) {
      html += "<td>" + escaped(text) + "</td>";
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div></details>\n";
}

std::string scores_section(const Scores& scores, const std::vector<Comparison>& comparisons) {
  if (scores.records.empty()) return "";
  std::string html =
      "<h2 id=\"scores\">Scores</h2>\n<div class=\"columns\">\n<div>" + score_plot(scores) + "</div>\n<div>";
  html += facts_table(scores, comparisons) + "</div>\n</div>\n";
  if (!scores.curves.empty()) html += best_table(scores, comparisons);
  return html + all_scores(scores);
}

std::string image(const SamplePicture& picture) {
  if (!std::filesystem::exists(picture.path)) {
    return "<p class=\"soft\">no picture: " + escaped(picture.path.filename().string()) + " is not there</p>";
  }
  const std::string alt = picture.nfe > 0 ? fmt::format("Grid of samples of {} at NFE {}", picture.title, picture.nfe)
                                          : "Grid of images: " + picture.title;
  return "<figure><img alt=\"" + escaped(alt) + "\" src=\"data:image/png;base64," + base64(read_file(picture.path)) +
         "\"><figcaption>" + escaped(picture.title) + "</figcaption></figure>";
}

std::string samples_section(const std::vector<SamplePicture>& pictures, const Scores& scores) {
  if (pictures.empty()) return "";
  std::vector<std::string> columns;
  std::map<std::int64_t, std::map<std::string, std::string>> cells;
  std::string extra;
  for (const SamplePicture& picture : pictures) {
    if (picture.nfe <= 0) {
      extra += image(picture);
      continue;
    }
    if (std::find(columns.begin(), columns.end(), picture.coupling) == columns.end())
      columns.push_back(picture.coupling);
    cells[picture.nfe][picture.coupling] += image(picture);
  }
  std::stable_sort(columns.begin(), columns.end(),
                   [&](const auto& a, const auto& b) { return colour_of(scores, a) < colour_of(scores, b); });
  std::string html = "<h2 id=\"samples\">Samples</h2>\n";
  if (!cells.empty()) {
    html +=
        "<p>Every cell starts from the same noise and labels: only the coupling (across) and the number of evaluations "
        "(down) differ.</p>\n"
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"samples\"><thead><tr><th scope=\"col\">NFE</th>";
    for (const std::string& column : columns) html += "<th scope=\"col\" class=\"text\">" + escaped(column) + "</th>";
    html += "</tr></thead>\n<tbody>\n";
    for (const auto& [nfe, row] : cells) {
      html += fmt::format("<tr><th scope=\"row\">{}</th>", nfe);
      for (const std::string& column : columns) {
        const auto cell = row.find(column);
        html += "<td>" + (cell == row.end() ? std::string("–") : cell->second) + "</td>";
      }
      html += "</tr>\n";
    }
    html += "</tbody></table></div>\n";
  }
  return extra.empty() ? html : html + "<h3>For comparison</h3>\n<div class=\"extra\">" + extra + "</div>\n";
}

std::string training_section(const std::vector<LossCurve>& curves, const Scores& scores) {
  std::vector<std::string> kinds;
  std::map<std::string, std::vector<const LossCurve*>> by_kind;
  for (const LossCurve& curve : curves) {
    const std::string kind = curve.stage.substr(0, curve.stage.find('/'));
    if (by_kind[kind].empty()) kinds.push_back(kind);
    by_kind[kind].push_back(&curve);
  }
  std::string plots;
  for (const std::string& kind : kinds) {
    Plot plot{"Training loss of " + kind, "", "training images", "loss", false, false, {}, {}, {}};
    std::set<int> used;
    for (const LossCurve* curve : by_kind[kind]) {
      const std::size_t slash = curve->stage.find('/'), dash = curve->stage.rfind('-');
      const bool student = slash != std::string::npos && dash != std::string::npos && dash > slash;
      const int colour = student ? colour_of(scores, curve->stage.substr(slash + 1, dash - slash - 1)) : colour_teacher;
      PlotLine line{curve->stage, {}, colour, !used.insert(colour).second, false};
      for (const auto& [images, loss] : thinned(curve->points)) line.points.push_back({images, loss, 0});
      if (line.points.empty()) continue;
      plot.description += fmt::format("{}: from {} to {}. ", curve->stage, number_text(line.points.front().y),
                                      number_text(line.points.back().y));
      plot.lines.push_back(std::move(line));
    }
    const std::string svg = svg_plot(plot);
    if (svg.empty()) continue;
    plots += "<figure><h3>" + escaped(kind) + "</h3>" + svg +
             "<figcaption>Loss against training images; each point is the mean over neighbouring "
             "steps.</figcaption></figure>\n";
  }
  return plots.empty() ? "" : "<h2 id=\"training\">Training</h2>\n<div class=\"columns\">" + plots + "</div>\n";
}

/// A JSON value as a cell shows it; nothing for null.
std::string cell_text(const nlohmann::json& record, const std::string& name) {
  const auto found = record.find(name);
  if (found == record.end() || found->is_null()) return "";
  if (name == "seconds" && found->is_number()) return duration_text(found->get<double>());
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_float()) return number_text(found->get<double>());
  return found->dump();
}

std::string stages_section(const std::vector<nlohmann::json>& stages) {
  if (stages.empty()) return "";
  const std::map<std::string, std::string> titles{
      {"stage", "stage"},     {"state", "state"},   {"seconds", "time"},      {"ranks", "ranks"},
      {"threads", "threads"}, {"device", "device"}, {"attempts", "attempts"}, {"program", "program"}};
  std::vector<std::string> columns;
  for (const char* name : {"stage", "state", "seconds", "ranks", "threads", "device", "attempts", "program"}) {
    const bool there =
        std::any_of(stages.begin(), stages.end(), [&](const auto& stage) { return !cell_text(stage, name).empty(); });
    if (there) columns.emplace_back(name);
  }
  std::string html = "<h2 id=\"stages\">Stages</h2>\n<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>";
  for (const std::string& name : columns) html += "<th scope=\"col\">" + titles.at(name) + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  double seconds = 0;
  for (const nlohmann::json& stage : stages) {
    html += "<tr>";
    for (const std::string& name : columns) html += "<td>" + escaped(cell_text(stage, name)) + "</td>";
    html += "</tr>\n";
    if (stage.contains("seconds") && stage["seconds"].is_number()) seconds += stage["seconds"].get<double>();
  }
  html += "</tbody></table></div>\n";
  return seconds > 0 ? html + paragraph("In all " + duration_text(seconds) + " of wall time, over all attempts.")
                     : html;
}

std::string reproduce_section(const ReportData& data) {
  if (data.command.empty() && data.config.empty()) return "";
  std::string html = "<h2 id=\"again\">Run it again</h2>\n";
  if (!data.command.empty()) html += "<pre class=\"wrap\"><code>" + escaped(data.command) + "</code></pre>\n";
  if (!data.config.empty()) {
    html += "<details><summary>The resolved configuration</summary>\n<pre><code>" + escaped(data.config) +
            "</code></pre></details>\n";
  }
  return html;
}

/// Links to the sections that there are.
std::string navigation(const std::string& body) {
  std::string html;
  for (const auto& [id, name] : {std::pair{"scores", "Scores"},
                                 {"samples", "Samples"},
                                 {"training", "Training"},
                                 {"stages", "Stages"},
                                 {"again", "Run it again"}}) {
    if (body.find(fmt::format("<h2 id=\"{}\"", id)) != std::string::npos)
      html += fmt::format("<a href=\"#{}\">{}</a>\n", id, name);
  }
  return html.empty() ? "" : "<nav aria-label=\"Sections\">\n" + html + "</nav>\n";
}

}  // namespace

std::string report_html(const ReportData& data) {
  const Scores scores = data.results.is_object() ? read_scores(data.results) : Scores{};
  const std::vector<Comparison> comparisons = compare(scores);
  std::string body = scores_section(scores, comparisons) + samples_section(data.pictures, scores) +
                     training_section(data.curves, scores) + stages_section(data.stages) + reproduce_section(data);
  const std::string title = data.title.empty() ? "Couplet run" : data.title;
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escaped(title) + "</title>\n<style>" + std::string(report_style()) +
         "</style>\n</head>\n<body>\n<header>\n<h1>" + escaped(title) + "</h1>\n<p class=\"soft\">" +
         escaped(data.program) + "</p>\n</header>\n<main>\n" + headline(scores, comparisons) + navigation(body) + body +
         "</main>\n</body>\n</html>\n";
}

std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points, std::size_t most) {
  std::vector<std::pair<double, double>> finite, out;
  std::copy_if(points.begin(), points.end(), std::back_inserter(finite),
               [](const auto& point) { return std::isfinite(point.first) && std::isfinite(point.second); });
  if (most == 0 || finite.size() <= most) return finite;
  for (std::size_t bin = 0; bin < most; ++bin) {
    const std::size_t first = bin * finite.size() / most, last = (bin + 1) * finite.size() / most;
    std::pair<double, double> mean{0, 0};
    for (std::size_t i = first; i < last; ++i) {
      mean.first += finite[i].first / static_cast<double>(last - first);
      mean.second += finite[i].second / static_cast<double>(last - first);
    }
    out.push_back(mean);
  }
  return out;
}

LossCurve read_loss_curve(const std::string& stage, const std::filesystem::path& metrics_jsonl, std::int64_t batch) {
  LossCurve curve{stage, {}};
  std::istringstream lines(read_file(metrics_jsonl));
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step") || !entry.contains("loss")) continue;
    if (!entry["step"].is_number() || !entry["loss"].is_number()) continue;
    const double images = (entry["step"].get<double>() + 1) * static_cast<double>(batch);
    curve.points.emplace_back(images, entry["loss"].get<double>());
  }
  return curve;
}

}  // namespace couplet
