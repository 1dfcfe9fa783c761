// The report for results made up here: whole pages, plots.
#include "tests/stages/report/report_pages.h"

#include "stages/report/html/markup.h"
#include "stages/report/html/plot.h"
#include "storage/error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

namespace couplet {
namespace {

TEST(Thinning, KeepsMeansAndEnds) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 1000; ++i) points.emplace_back(i, 2 * i);
  points.emplace_back(2000, std::numeric_limits<double>::quiet_NaN());
  const auto thin = thinned(points, 100);
  ASSERT_EQ(thin.size(), 100U);
  EXPECT_DOUBLE_EQ(thin.front().first, 4.5);
  EXPECT_DOUBLE_EQ(thin.back().second, 2 * 994.5);
  EXPECT_EQ(thinned(points, 5000).size(), 1000U);
}

class Report : public ::testing::Test {
protected:
  std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "report_test";
  ReportData data;

  void SetUp() override {
    data.title = "fashion <script>alert(\"1\")</script> & co";
    data.program = "couplet 0.1.0";
    data.runs = {finished_report(folder, "fashion", {8.8, 3.8, 3.3, 3.2})};
    run().command = "couplet run --config fashion.ini --run-dir 'runs/<fashion>'";
    run().config = "[teacher]\nchannels = 128 # <width>\n";
    run().pictures.push_back({"lost", "teacher", 0, folder / "lost.png"});
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  RunReport& run() { return data.runs.front(); }

  /// Parses the page with python3: balanced tags, every image described, every plot well-formed XML.
  int parse(const std::string& html) {
    std::ofstream(folder / "report.html") << html;
    const std::string command = "python3 '" COUPLET_SOURCE_DIR "/tests/stages/report/check_html.py' '" +
                                (folder / "report.html").string() + "'";
    return std::system(command.c_str());
  }
};

/// Without what lies in base64, in which any word may be.
std::string without_data(std::string html) {
  const std::string start = "base64,";
  for (std::size_t at = html.find(start); at != std::string::npos; at = html.find(start, at)) {
    at += start.size();
    html.erase(at, html.find('"', at) - at);
  }
  return html;
}

TEST_F(Report, IsWellFormedAndComplete) {
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"nf beats independent at NFE 1, 2 and 4, by most 2.29 times",
                    "cross between NFE 4 and 8",
                    "Fréchet distance, Fashion-MNIST classifier features",
                    "15.8",
                    "8.80",
                    "3.30",
                    "3.20",
                    "5.25",
                    "4.75",
                    "0.00630",
                    "0.0386",
                    "0.0181",
                    "0.432",
                    "62.5 %",
                    "0.871",
                    "teacher, as sampled",
                    "real test images",
                    "3m 10s",
                    "student/nf-0",
                    "channels = 128",
                    "data:image/png;base64,iVBORw0KGgo",
                    "Grid of samples of nf, Euler at NFE 2",
                    "lost.png is not there",
                    "prefers-color-scheme: dark",
                    "@media print",
                    "width=device-width"});
}

TEST_F(Report, EscapesEverything) {
  run().results["records"][0]["coupling"] = "<b>bold</b>";
  run().results["records"][0]["network"] = "net & <work>";
  run().stages[0]["stage"] = "</table><i>";
  run().pictures[0].title = "\"><img src=x>";
  run().curves[0].stage = "<teacher>";
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"fashion &lt;script&gt;", "&lt;b&gt;bold&lt;/b&gt;", "net &amp; &lt;work&gt;", "&lt;width&gt;",
                    "runs/&lt;fashion&gt;"});
  expect_lacks(html, {"<script", "<b>", "<i>", "<work>", "<width>", "<img src=x>", "<teacher>"});
}

TEST_F(Report, FetchesNothing) {
  const std::string html = without_data(report_html(data));
  expect_lacks(html, {"http:", "https:", "src=\"//", "<script", "<link", "@import", "url(", "FID"});
}

TEST_F(Report, IsSmall) {
  for (LossCurve& curve : run().curves) {
    curve.points.clear();
    for (int i = 0; i < 200000; ++i) curve.points.emplace_back(i, 1.0 / (1 + i));
  }
  EXPECT_LT(report_html(data).size(), 300000U);
}

TEST_F(Report, OfAnUnfinishedRun) {
  EXPECT_EQ(parse(report_html(ReportData{})), 0);
  run().results = nlohmann::json();
  run().pictures.clear();
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"not known yet", "No two couplings have been scored", "Training loss of teacher", "Stages"});
  expect_lacks(without_data(html), {"id=\"scores\"", "id=\"samples\"", "nan", "inf "});
}

TEST_F(Report, ReadsLossesThatAKillCutShort) {
  std::ofstream(folder / "metrics.jsonl")
      << "{\"step\":0,\"loss\":2.0}\n{\"step\":1,\"loss\":null}\n{\"step\":2,\"loss\":1.5}\n{\"step\":3,\"lo";
  const LossCurve curve = read_loss_curve("teacher", folder / "metrics.jsonl", 32);
  EXPECT_EQ(curve.points, (std::vector<std::pair<double, double>>{{32, 2.0}, {96, 1.5}}));
}

TEST_F(Report, ReadsHeldOutLossesAndRates) {
  std::ofstream(folder / "metrics.jsonl")
      << "{\"step\":0,\"loss\":2.0,\"seconds\":0.5,\"data_stall\":0.1,\"communication_stall\":0.05}\n"
         "{\"step\":1,\"loss\":1.5,\"seconds\":0.5,\"data_stall\":0,\"test_loss\":1.75}\n";
  const LossCurve curve = read_loss_curve("teacher", folder / "metrics.jsonl", 32);
  EXPECT_EQ(curve.test, (Points{{64, 1.75}}));
  EXPECT_DOUBLE_EQ(curve.images / curve.seconds, 64);
  EXPECT_DOUBLE_EQ(curve.stalled, 0.15);
}

TEST_F(Report, TheFindingComesFirst) {
  const std::string html = report_html(data);
  const std::size_t verdict = html.find("<section class=\"verdict\""), end = html.find("</section>", verdict);
  ASSERT_NE(verdict, std::string::npos);
  EXPECT_LT(end, html.find("<section aria-labelledby"));
  expect_has(html.substr(verdict, end - verdict),
             {"Which coupling won?", "nf</strong>best at NFE 1, 2 and 4; independent is best at NFE 8.", "2.29×",
              "lower Fréchet distance than independent at NFE 2: 3.80 against 8.70", "How sure?", "1 training seed",
              "5000 samples a score", "couplet run --config fashion.ini", "Samples: nf, 2 evaluations of the network"});
}

TEST_F(Report, ShowsEveryKindOfRecord) {
  run().results = with_companions(run().results);
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"mean ± standard deviation over 3 training seeds; in [ ]: standard deviation over 2 sampling seeds",
                    "class=\"bar\"", "class=\"spread\"", "Curvature along time", "kernel distance", "coverage",
                    "novel_metric", "bits/dim", "3.25 ± 0.015", "exact", "0123abcd",
                    "Values of z of nf, training images beside the normal distribution",
                    "each image beside its noise z", "Paths of nf, from noise to image",
                    "student/nf-0, held-out images", "2100 images/s", "download=\"fashion.ini\""});
}

TEST_F(Report, MarksTheBestOfTheOtherMetricsEitherWay) {
  nlohmann::json records = nlohmann::json::array();
  for (const auto& [coupling, kernel, coverage] : {std::tuple{"independent", 0.02, 0.5}, {"nf", 0.01, 0.9}}) {
    const nlohmann::json distance = record(coupling, 1, 3);
    records.push_back(distance);
    records.push_back(other(distance, {{"metric", "kernel_distance"}, {"value", kernel}, {"subset_sd", 0.003}}));
    records.push_back(other(distance, {{"metric", "coverage"}, {"value", coverage}}));
    records.push_back(other(distance, {{"metric", "nearest_training_ratio"}, {"value", coverage}}));
    // Of a setting in which the distance was not the best: not shown.
    records.push_back(other(record(coupling, 1, 4, 0, "heun"), {{"metric", "coverage"}, {"value", 0.987}}));
  }
  run().results = {{"records", records}};
  const std::string html = report_html(data);
  const std::string others =
      html.substr(html.find("id=\"companions\""), html.find("id=\"coupling\"") - html.find("id=\"companions\""));
  expect_has(others, {"<td class=\"best\">0.0100 (0.003)</td>", "<td class=\"best\">0.900</td>",
                      "<td>0.0200 (0.003)</td>", "<td>0.500</td>", "<td>0.900</td>"});
  expect_lacks(others, {"0.987"});
}

TEST_F(Report, OfSeveralRunsNamesThemEverywhere) {
  data.runs.push_back(finished_report(folder, "better", {4.4, 1.9, 1.65, 1.6}));
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"better: nf beats fashion: nf at every NFE compared", "fashion: nf beats fashion: independent",
                    "better: teacher, as sampled: 5.25", "fashion: student/nf-0", "better: nf, training images",
                    "Grid of samples of better: nf, Euler at NFE 2", "runs/better-again"});
}

TEST(LossStart, TheSteepFallIsLeftOut) {
  Points points;
  for (int i = 0; i < 100; ++i) points.emplace_back(i, i < 2 ? 9 - i : 1.0 + 0.01 * (i % 2));
  const Points rest = without_start(points);
  ASSERT_EQ(rest.size(), 98U);
  EXPECT_DOUBLE_EQ(rest.front().first, 2);
  const Points rising{{0, 1}, {1, 2}, {2, 3}};
  EXPECT_EQ(without_start(rising), rising);
}

Plot log_plot() {
  Plot plot;
  plot.title = "t";
  plot.log_x = plot.log_y = true;
  return plot;
}

TEST(Plot, LeavesOutWhatAnAxisCannotShow) {
  Plot plot = log_plot();
  plot.lines = {{"a", {{0, 1}, {1, -1}}}};
  EXPECT_EQ(svg_plot(plot), "");
  plot.lines[0].points.push_back({4, 2, 3});
  const std::string svg = svg_plot(plot);
  expect_has(svg, {"<circle", "class=\"bar\"", "a: 2.00 at 4"});
  expect_lacks(svg, {"nan", "inf", "class=\"spread\""});
}

TEST(Plot, LabelsOfTicksDoNotLieOnEachOther) {
  Plot plot = log_plot();
  plot.lines = {{"a", {{1, 10}, {56, 20}, {62, 100}}}};
  plot.x_ticks = {1, 56, 62};
  const std::string svg = svg_plot(plot);
  expect_has(svg, {">1</text>", ">56</text>"});
  expect_lacks(svg, {">62</text>"});
}

TEST(Plot, TellsOfLevelsThatAreTooFarAway) {
  Plot plot = log_plot();
  plot.lines = {{"a", {{1, 10}, {2, 100}}}};
  plot.levels = {{"near: 5", 5, 0, 0.25}, {"far: 0.01", 0.01}};
  const std::string svg = svg_plot(plot);
  expect_has(svg, {"near: 5</text>", "far: 0.01 (outside)</text>", "class=\"band\""});
  // Each has an entry in the legend, the near one a line across the plot besides.
  std::size_t lines = 0;
  for (std::size_t at = svg.find("line level"); at != std::string::npos; at = svg.find("line level", at + 1)) ++lines;
  EXPECT_EQ(lines, 3U);
}

TEST(Plot, FallingAxisHasTheLargestValueOnTheLeft) {
  Plot plot;
  plot.lines = {{"a", {{0, 1}, {1, 2}}}};
  const auto first_x = [&] {
    return std::stod(svg_plot(plot).substr(svg_plot(plot).find("class=\"line\" d=\"M") + 17));
  };
  const double rising = first_x();
  plot.falling_x = true;
  EXPECT_GT(first_x(), rising + 200);
}

}  // namespace
}  // namespace couplet
