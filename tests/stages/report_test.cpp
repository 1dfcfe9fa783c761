// The score table and the report for results made up here.
#include "stages/report/comparison.h"
#include "stages/report/html.h"
#include "stages/report/plot.h"
#include "stages/report/score_table.h"
#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/picture.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

namespace couplet {
namespace {

const std::string network = "Fashion-MNIST classifier features";

nlohmann::json record(const std::string& coupling, std::int64_t nfe, double value, std::int64_t seed = 0,
                      const std::string& solver = "euler", const std::string& grid = "uniform") {
  return {{"model", "student"},
          {"coupling", coupling},
          {"nfe", nfe},
          {"value", value},
          {"metric", "frechet_distance"},
          {"seed", seed},
          {"solver", solver},
          {"grid", grid},
          {"noise", "fresh"},
          {"split", ""},
          {"guidance", 1.0},
          {"samples", 5000},
          {"network", network}};
}

nlohmann::json other(nlohmann::json base, const nlohmann::json& changes) {
  base.update(changes);
  return base;
}

/// Independent 15.8, 8.7, 3.8, 2.0 at NFE 1, 2, 4, 8; nf as given; and the rest of a finished run.
nlohmann::json finished_run(const std::vector<double>& nf) {
  nlohmann::json records = nlohmann::json::array();
  const std::vector<double> independent{15.8, 8.7, 3.8, 2.0};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t nfe = 1 << i;
    records.push_back(record("nf", nfe, nf[i]));
    records.push_back(record("independent", nfe, independent[i]));
    records.push_back(record("independent", nfe, independent[i] + 1, 0, "euler", "squared"));
    records.push_back(other(record("nf", nfe, nf[i] / 4), {{"noise", "table"}, {"split", "test"}}));
    records.push_back(other(record("nf", nfe, 0.75 + 0.01 * static_cast<double>(i)), {{"metric", "class_accuracy"}}));
  }
  const nlohmann::json teacher = other(record("", 0, 5.25, 0, "autoregressive", ""), {{"model", "teacher"}});
  records.push_back(teacher);
  records.push_back(other(teacher, {{"denoised", true}, {"value", 4.75}}));
  records.push_back(other(teacher, {{"model", "real"}, {"split", "test"}, {"value", 0.0063}}));
  records.push_back(other(teacher, {{"metric", "class_accuracy"}, {"value", 0.871}}));
  records.push_back(other(record("nf", 128, 0.0181), {{"metric", "curvature"}}));
  records.push_back(other(record("independent", 128, 0.0386), {{"metric", "curvature"}}));
  for (const char* split : {"train", "test"}) {
    const nlohmann::json row = other(record("nf", 8, 0.4321), {{"noise", "table"}, {"split", split}});
    records.push_back(other(row, {{"metric", "pairing_distance_ratio"}}));
    records.push_back(other(row, {{"metric", "pairing_nearest_rate"}, {"value", 0.625}}));
  }
  return {{"records", records}};
}

std::string headline(const std::vector<double>& nf) {
  const Scores scores = read_scores(finished_run(nf));
  const std::vector<Comparison> comparisons = compare(scores);
  return comparisons.size() == 1 ? comparisons[0].sentence(scores) + " " + comparisons[0].crossing_text() : "";
}

void expect_has(const std::string& text, const std::vector<std::string>& parts) {
  EXPECT_FALSE(parts.empty());
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in\n" << text;
}

void expect_lacks(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_EQ(text.find(part), std::string::npos) << "'" << part << "' in\n" << text;
}

TEST(Comparison, AWinEverywhere) {
  const std::string text = headline({8.8, 2.9, 1.9, 1.6});
  expect_has(text, {"nf beats independent at every NFE compared (NFE 1, 2, 4 and 8)", "by most 3.00 times",
                    "2.90 against 8.70 at NFE 2", "do not cross between NFE 1 and 8", "One training seed"});
}

TEST(Comparison, ACrossing) {
  // Crossing where 3.8 (2.0/3.8)^s = 3.3 (3.2/3.3)^s, s = log2(nfe/4): NFE 4.71.
  const std::string text = headline({8.8, 3.8, 3.3, 3.2});
  expect_has(text, {"nf beats independent at NFE 1, 2 and 4, by most 2.29 times", "At NFE 8 independent is better",
                    "cross between NFE 4 and 8 (near 4.7)"});
}

TEST(Comparison, ALoss) {
  const std::string text = headline({20, 10, 5, 2.5});
  expect_has(text, {"nf does not beat independent at any NFE compared", "10.0 against 8.70 at NFE 2", "do not cross"});
  expect_lacks(text, {"nf beats"});
}

TEST(Comparison, SeedsDecideHowSure) {
  nlohmann::json records = nlohmann::json::array();
  for (const std::int64_t seed : {0, 1, 2}) {
    const double shift = static_cast<double>(seed - 1);
    records.push_back(record("independent", 1, 10 + shift, seed));
    records.push_back(record("nf", 1, 5 + shift, seed));
    records.push_back(record("independent", 2, 4 + shift, seed));
    records.push_back(record("nf", 2, 3.5 + shift, seed));
  }
  // A single lucky seed of another setting is no rival to the mean over three.
  records.push_back(record("nf", 1, 0.1, 0, "euler", "squared"));
  const Scores scores = read_scores({{"records", records}});
  const ScoreSummary score = scores.curve("nf", "fresh")->scores.at(1);
  EXPECT_DOUBLE_EQ(score.mean, 5);
  EXPECT_DOUBLE_EQ(score.sd, 1);
  EXPECT_EQ(score.seeds, 3);
  expect_has(compare(scores)[0].sentence(scores),
             {"over 3 training seeds", "at NFE 2 the difference is within their spread"});
  expect_has(score_table(scores), {"5.00 ± 1 Eu", "mean ± standard deviation over 3 training seeds"});
}

TEST(ScoreTable, HasEveryPart) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "report_test_results.json";
  std::ofstream(path) << finished_run({8.8, 3.8, 3.3, 3.2}).dump();
  const std::string table = score_table(path);
  expect_has(table, {"Fréchet distance, Fashion-MNIST classifier features",
                     "15.8 Eu",
                     "8.80 Eu",
                     "nf, from held-out table z",
                     "2.20 Eu",
                     "ratio independent / nf",
                     "1.80",
                     "2.29",
                     "0.62",
                     "class accuracy, nf",
                     "0.780",
                     "5.25 as sampled, 4.75 after its denoising step",
                     "real test split: 0.00630",
                     "cross between NFE 4 and 8",
                     "8.80 → 2.20 at NFE 1",
                     "independent 0.0386; nf 0.0181",
                     "train rows at 0.432 of the class's median distance",
                     "test rows nearest their image in 62.5 %",
                     "teacher 0.871",
                     "5000 samples a score"});
  expect_lacks(table, {"FID", "16.8"});
  EXPECT_LT(table.find("\nindependent "), table.find("\nnf "));
  std::filesystem::remove(path);
}

TEST(ScoreTable, AnUnfinishedRunLeavesPartsOut) {
  EXPECT_EQ(score_table(read_scores(nlohmann::json::object())), "");
  const nlohmann::json teacher = other(record("", 0, 5.25), {{"model", "teacher"}});
  const std::string only_teacher = score_table(read_scores({{"records", {teacher}}}));
  expect_has(only_teacher, {"teacher: 5.25 as sampled"});
  expect_lacks(only_teacher, {"NFE", "ratio", "curvature", "pairing", "real"});
  const std::string one_student = score_table(read_scores({{"records", {record("nf", 4, 3.3)}}}));
  expect_has(one_student, {"3.30 Eu"});
  expect_lacks(one_student, {"ratio", "cross", "prior"});
}

TEST(ScoreTable, ReportsWhatIsNotFinite) {
  const nlohmann::json bad = other(record("nf", 4, 0), {{"value", nullptr}});
  const nlohmann::json some = other(record("nf", 2, 3), {{"nonfinite_samples", 7}});
  expect_has(score_table(read_scores({{"records", {bad, some}}})),
             {"samples with NaN or infinite values: 7", "records without a finite value: 1"});
}

TEST(ScoreTable, RefusesOtherFiles) {
  const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "report_test_bad.json";
  std::ofstream(path) << "{ no json";
  EXPECT_THROW(score_table(path), Error);
  EXPECT_THROW(read_scores({{"records", {{{"model", 3}}}}}), Error);
  std::filesystem::remove(path);
}

TEST(Numbers, ThreeDigits) {
  EXPECT_EQ(number_text(15.83), "15.8");
  EXPECT_EQ(number_text(0.0386), "0.0386");
  EXPECT_EQ(number_text(1234.5), "1234");
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(1e-7), "1.00e-07");
}

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
    std::filesystem::create_directories(folder);
    Picture picture{28, 56, 1, std::vector<std::uint8_t>(28 * 56)};
    for (std::size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<std::uint8_t>(i * 7 % 251);
    write_png(folder / "samples.png", picture);
    data.title = "fashion <script>alert(\"1\")</script> & co";
    data.results = finished_run({8.8, 3.8, 3.3, 3.2});
    data.program = "couplet 0.1.0";
    data.command = "couplet run --config configs/fashion.ini --run-dir 'runs/<fashion>'";
    data.config = "[teacher]\nchannels = 128 # <width>\n";
    for (const char* name : {"teacher", "student/nf-0", "student/independent-0"}) {
      LossCurve curve{name, {}};
      for (int i = 0; i < 2000; ++i) curve.points.emplace_back(32 * (i + 1), 0.3 + 1.0 / (1 + i));
      data.curves.push_back(curve);
      data.stages.push_back({{"stage", name}, {"state", "complete"}, {"seconds", 190}, {"ranks", 2}, {"attempts", 1}});
    }
    for (const std::int64_t nfe : {1, 2}) {
      for (const char* coupling : {"independent", "nf"}) {
        data.pictures.push_back({std::string(coupling) + ", Euler", coupling, nfe, folder / "samples.png"});
      }
    }
    data.pictures.push_back({"the teacher's samples", "teacher", 0, folder / "samples.png"});
    data.pictures.push_back({"lost", "teacher", 0, folder / "lost.png"});
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// Parses the page with python3: balanced tags, every image described, every plot well-formed XML.
  int parse(const std::string& html) {
    std::ofstream(folder / "report.html") << html;
    const std::string command =
        "python3 '" COUPLET_SOURCE_DIR "/tests/stages/check_html.py' '" + (folder / "report.html").string() + "'";
    return std::system(command.c_str());
  }
};

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
  data.results["records"][0]["coupling"] = "<b>bold</b>";
  data.results["records"][0]["network"] = "net & <work>";
  data.stages[0]["stage"] = "</table><i>";
  data.pictures[0].title = "\"><img src=x>";
  data.curves[0].stage = "<teacher>";
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"fashion &lt;script&gt;", "&lt;b&gt;bold&lt;/b&gt;", "net &amp; &lt;work&gt;", "&lt;width&gt;",
                    "runs/&lt;fashion&gt;"});
  expect_lacks(html, {"<script", "<b>", "<i>", "<work>", "<width>", "<img src=x>", "<teacher>"});
}

TEST_F(Report, FetchesNothing) {
  const std::string html = report_html(data);
  expect_lacks(html, {"http:", "https:", "src=\"//", "<script", "<link", "@import", "url(", "FID"});
}

TEST_F(Report, IsSmall) {
  for (LossCurve& curve : data.curves) {
    curve.points.clear();
    for (int i = 0; i < 200000; ++i) curve.points.emplace_back(i, 1.0 / (1 + i));
  }
  EXPECT_LT(report_html(data).size(), 200000U);
}

TEST_F(Report, OfAnUnfinishedRun) {
  EXPECT_EQ(parse(report_html(ReportData{})), 0);
  data.results = nlohmann::json();
  data.pictures.clear();
  const std::string html = report_html(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"No two couplings have been scored", "Training loss of teacher", "Stages"});
  expect_lacks(html, {"id=\"scores\"", "id=\"samples\"", "nan", "inf "});
}

TEST_F(Report, ReadsLossesThatAKillCutShort) {
  std::ofstream(folder / "metrics.jsonl")
      << "{\"step\":0,\"loss\":2.0}\n{\"step\":1,\"loss\":null}\n{\"step\":2,\"loss\":1.5}\n{\"step\":3,\"lo";
  const LossCurve curve = read_loss_curve("teacher", folder / "metrics.jsonl", 32);
  EXPECT_EQ(curve.points, (std::vector<std::pair<double, double>>{{32, 2.0}, {96, 1.5}}));
}

TEST(Plot, LeavesOutWhatAnAxisCannotShow) {
  Plot plot{"t", "d", "x", "y", true, true, {}, {{"a", {{0, 1, 0}, {1, -1, 0}}, 0, false, true}}, {}};
  EXPECT_EQ(svg_plot(plot), "");
  plot.lines[0].points.push_back({4, 2, 3});
  const std::string svg = svg_plot(plot);
  expect_has(svg, {"<circle", "class=\"bar\"", "a: 2.00 at 4"});
  expect_lacks(svg, {"nan", "inf"});
}

}  // namespace
}  // namespace couplet
