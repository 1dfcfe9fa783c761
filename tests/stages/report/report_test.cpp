// The report for results made up here: whole pages and their data.
#include "tests/stages/report/report_pages.h"

#include "pipeline/config/options.h"
#include "stages/kinds.h"
#include "stages/report/report.h"
#include "stages/report/score_table.h"
#include "storage/error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace couplet {
namespace {

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
    run().pictures.push_back({PictureKind::teacher, "", folder / "lost.png"});
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  RunReport& run() { return data.runs.front(); }
  static std::string page_of(const ReportData& data) { return report_html(report_page(data)); }

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
  const std::string html = page_of(data);
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
                    "held-out images",
                    "3m 10s",
                    "student/nf-0",
                    "channels = 128",
                    "data:image/png;base64,iVBORw0KGgo",
                    "Grid of samples of nf, Euler, uniform grid, NFE 2",
                    "lost.png is not there",
                    "prefers-color-scheme: dark",
                    "@media print",
                    "width=device-width"});
}

TEST_F(Report, EscapesEverything) {
  run().results["records"][0]["coupling"] = "<b>bold</b>";
  run().results["records"][0]["network"] = "net & <work>";
  run().stages[0]["stage"] = "</table><i>";
  run().pictures[0].grid = "\"><img src=x>";
  run().curves[0].stage = "<teacher>";
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"fashion &lt;script&gt;", "&lt;b&gt;bold&lt;/b&gt;", "net &amp; &lt;work&gt;", "&lt;width&gt;",
                    "runs/&lt;fashion&gt;"});
  expect_lacks(html, {"<script", "<b>", "<i>", "<work>", "<width>", "<img src=x>", "<teacher>"});
}

TEST_F(Report, FetchesNothing) {
  const std::string html = without_data(page_of(data));
  expect_lacks(html, {"http:", "https:", "src=\"//", "<script", "<link", "@import", "url(", "FID"});
}

TEST_F(Report, IsSmall) {
  for (LossCurve& curve : run().curves) {
    curve.points.clear();
    for (int i = 0; i < 200000; ++i) curve.points.emplace_back(i, 1.0 / (1 + i));
  }
  EXPECT_LT(page_of(data).size(), 300000U);
}

TEST_F(Report, OfAnUnfinishedRun) {
  EXPECT_EQ(parse(page_of(ReportData{})), 0);
  run().results = nlohmann::json();
  run().pictures.clear();
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"not known yet", "No two couplings have been scored", "Training loss of teacher", "Stages"});
  expect_lacks(without_data(html), {"id=\"scores\"", "id=\"samples\"", "nan", "inf "});
}

/// A run that trains its teacher alone: its records, its pictures and its stages.
void leave_teacher(RunReport& run) {
  nlohmann::json records = nlohmann::json::array();
  for (const nlohmann::json& record : run.results.at("records"))
    if (record.at("model") != "student") records.push_back(record);
  run.results = {{"records", records}};
  run.has_students = false;
  std::erase_if(run.pictures, [](const SamplePicture& picture) { return !picture.student.empty(); });
  std::erase_if(run.curves, [](const LossCurve& curve) { return curve.stage != "teacher"; });
  std::erase_if(run.stages, [](const nlohmann::json& stage) { return stage.at("stage") != "teacher"; });
  run.tables.clear();
  run.couplings.clear();
}

TEST_F(Report, OfATeacherAlone) {
  leave_teacher(run());
  const nlohmann::json bits = other(
      run().results["records"][0],
      {{"metric", "bits_per_dim"}, {"split", "test"}, {"value", 2.99}, {"standard_error", 0.01}, {"samples", 50000}});
  run().results["records"].push_back(bits);
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"How good are the teacher's samples?",
                    "<strong>4.75</strong>Fréchet distance, after its denoising step. 5000 samples, " + scored_network,
                    "How likely are held-out images?", "<strong>2.99 ± 0.01</strong>bits/dim, by the teacher, of 50000",
                    "Grid of images: the teacher's samples", "5.25 as sampled, 4.75 after its denoising step",
                    "Training loss of teacher", "id=\"scores\""});
  expect_lacks(without_data(html),
               {"Which coupling", "Which student", "not known yet", "id=\"coupling\"", "id=\"paths\""});
  const std::string table = score_table(read_scores(run().results));
  expect_has(table, {"Fréchet distance, " + scored_network, "5000 samples a score",
                     "teacher: 5.25 as sampled, 4.75 after its denoising step"});
}

TEST_F(Report, OfTeachersWithoutANetworkAndOfOneBesideStudents) {
  leave_teacher(run());
  run().results["records"] = nlohmann::json::array();
  std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"How good is the teacher?", "not known yet"});
  const nlohmann::json bits =
      other(record("", 0, 2.99), {{"model", "teacher"}, {"metric", "bits_per_dim"}, {"split", "test"}, {"noise", ""}});
  run().results["records"].push_back(bits);
  html = page_of(data);
  expect_has(html, {"<strong>2.99</strong>bits/dim, by the teacher"});
  expect_lacks(html, {"teacher's samples?"});
  // Beside a run with students those are what is asked about.
  data.runs.push_back(finished_report(folder, "other", {8.8, 3.8, 3.3, 3.2}));
  html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"Which coupling won?"});
  expect_lacks(html, {"How likely are held-out images?"});
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
  const std::string html = page_of(data);
  const std::size_t verdict = html.find("<section class=\"verdict\""), end = html.find("</section>", verdict);
  ASSERT_NE(verdict, std::string::npos);
  EXPECT_LT(end, html.find("<section aria-labelledby"));
  expect_has(html.substr(verdict, end - verdict),
             {"Which coupling won?", "nf</strong>best at NFE 1, 2 and 4; independent is best at NFE 8.", "2.29×",
              "lower Fréchet distance than independent at NFE 2: 3.80 against 8.70", "How sure?", "1 training seed",
              "5000 samples a score", "couplet run --config fashion.ini", "Samples: nf, 2 evaluations of the network"});
}

TEST_F(Report, ShowsEveryKindOfRecord) {
  run().results = with_other_metrics(run().results);
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"mean ± standard deviation over 3 training seeds; in [ ]: standard deviation over 2 sampling seeds",
                    "class=\"bar\"", "class=\"spread\"", "Curvature along time", "kernel distance", "coverage",
                    "novel_metric", "bits/dim", "3.25 ± 0.015", "exact", "0123abcd",
                    "Values of z of nf, training images beside the normal distribution",
                    "each image beside its noise z", "Paths of nf, from noise (left) to image (right)",
                    "student/nf-0, held-out images", "2100 images/s", "download=\"fashion.ini\""});
}

TEST_F(Report, SetsCouplingsBesideEachOther) {
  const Json page = report_page(data);
  const std::string html = report_html(page);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"<tr><th scope=\"row\">nf</th><td>4096</td><td>1234</td><td>0.912</td><td>1.01</td><td>0.125</td>"
                    "<td>0.0123</td><td>0.0456</td><td>0.00789</td><td>0.678</td><td>1m 15s</td><td>1600</td>"
                    "<td>1h 02m</td></tr>",
                    "<tr><th scope=\"row\">independent, drawn for plain</th><td>4096</td>", "<td>1.00</td>",
                    "<td>0.00789</td><td></td><td></td><td></td><td></td></tr>"});
  const Json judged = Json::parse(report_json(page)).at("coupling").at("judged");
  EXPECT_EQ(judged.at(0).at("transport_ratio").at("value"), 0.912);
  EXPECT_EQ(judged.at(0).at("teacher_seconds").at("value"), 3720);
  EXPECT_EQ(judged.at(0).at("quality").at("transport_cost").at("squared"), 1234.5);
  EXPECT_TRUE(judged.at(1).at("crossing").is_null());
  EXPECT_TRUE(judged.at(1).at("seconds").is_null());
  EXPECT_EQ(judged.at(1).at("student"), "plain");
  run().tables.clear();
  EXPECT_EQ(parse(page_of(data)), 0) << "couplings without any table";
  run().couplings.clear();
  expect_lacks(page_of(data), {"id=\"coupling\""});
}

TEST_F(Report, ShowsTheNoiseOfTables) {
  expect_lacks(page_of(data), {"The noise of the tables"});
  const auto of_table = [](const char* split, const char* metric, double value, double error) {
    return nlohmann::json{{"model", "table"}, {"table", "nf"},  {"split", split},         {"metric", metric},
                          {"value", value},   {"samples", 900}, {"standard_error", error}};
  };
  for (const nlohmann::json& added :
       {of_table("test", "class_mean_nats", 0.301, 0.012), of_table("test", "noise_auc", 0.612, 0.004),
        of_table("test", "noise_square", 1.02, 0.003), of_table("test", "nll_difference", 4.5, 0.5),
        of_table("train", "class_mean_nats", 0.404, 0.011)})
    run().results["records"].push_back(added);
  const Json page = report_page(data);
  const std::string html = report_html(page);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"The noise of the tables", "noise of the table nf, held-out rows</th><td>900</td><td>0.301 ± 0.012",
                    "noise of the table nf, training rows</th><td>900</td><td>0.404 ± 0.011",
                    "what made the table is overfitted: held-out rows are less likely than training rows by 4.50 ± 0.5",
                    "noise of the table nf, held-out rows against N(0, I)",
                    "class means gain 0.301 ± 0.012 nats an image, ‖z‖²/d 1.02 ± 0.003"});
  const Json gaps = Json::parse(report_json(page)).at("coupling").at("gaps");
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_EQ(gaps.at(0).at("overfitting").at("value"), 4.5);
  EXPECT_TRUE(gaps.at(1).at("overfitting").is_null());
  EXPECT_TRUE(gaps.at(1).at("noise_auc").is_null());
  expect_has(score_table(read_scores(run().results)), {"class means gain 0.301 ± 0.012 nats an image"});
  // Within three standard errors, or less than half a nat, it is not overfitted.
  for (const auto& [value, error] : {std::pair{4.5, 2.0}, {0.4, 0.01}}) {
    run().results["records"].push_back(of_table("test", "nll_difference", value, error));
    expect_lacks(page_of(data), {"overfitted:"});
  }
}

TEST_F(Report, IsPublishedForProgramsToo) {
  data.folder = folder / "report";
  const Json page = report_page(data);
  const std::string text = report_json(page);
  const Json found = Json::parse(text);
  EXPECT_EQ(found.at("format"), "couplet-report");
  EXPECT_EQ(found.at("verdict").at("winner").at("student"), "nf");
  EXPECT_EQ(found.at("verdict").at("best_at"), Json({1, 2, 4}));
  const Json& curve = found.at("scores").at("curves").at(1);
  EXPECT_EQ(curve.at("name"), "nf");
  EXPECT_EQ(curve.at("cells").at(1).at("score").at("value"), 3.8);
  EXPECT_EQ(curve.at("cells").at(1).at("score").at("text"), "3.80");
  EXPECT_EQ(curve.at("cells").at(1).at("best"), true);
  EXPECT_EQ(found.at("scores").at("plot").at("lines").at(1).at("points").at(0), Json({1.0, 8.8, 0.0, 0.0}));
  // Pictures by path, from where the report lies.
  const Json& picture = found.at("samples").at("sheets").at("rows").at(0).at("cells").at(0).at("pictures").at(0);
  EXPECT_EQ(picture.at("path"), "../independent-1.png");
  EXPECT_EQ(found.at("coupling").at("tables").at(0).at("picture").at("path"), "coupling-nf-train.png");
  EXPECT_EQ(found.at("records").at("list").size(), found.at("records").at("count"));
  expect_lacks(text, {"base64", "iVBORw0KGgo", "<svg", "<path", "class="});
  EXPECT_EQ(report_json(page), text) << "equal data, equal bytes";
}

/// Height of the picture of a page's finding.
std::int64_t height_of_strip(const std::filesystem::path& folder, const ReportData& data) {
  const Json page = report_page(data);
  const std::string text = page.at("verdict").at("pictures").at(0).at("png");
  const std::filesystem::path path = folder / "strip.png";
  std::ofstream(folder / "strip.txt") << text;
  const std::string command = "base64 -d '" + (folder / "strip.txt").string() + "' > '" + path.string() + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
  return read_png(path).height;
}

TEST_F(Report, TheFindingsPicturesAreCutBetweenImages) {
  // Eight rows of images of 28 pixels with 2 between them.
  EXPECT_EQ(height_of_strip(folder, data), 3 * 30 - 2);
  run().image_height = 0;
  EXPECT_EQ(height_of_strip(folder, data), 8 * 30 - 2) << "nobody knows where an image ends";
  run().image_height = 64;
  EXPECT_EQ(height_of_strip(folder, data), 8 * 30 - 2) << "a sheet of other images";
  data.runs = {run_of_many_classes(folder)};
  EXPECT_EQ(height_of_strip(folder, data), 3 * 66 - 2);
}

TEST_F(Report, TheFindingsPicturesAreOfTheGuidanceAndTheAverageThatWereCompared) {
  EXPECT_FALSE(report_page(data).at("verdict").at("pictures").empty());
  for (SamplePicture& picture : run().pictures) picture.guidance = 2;
  EXPECT_TRUE(report_page(data).at("verdict").at("pictures").empty());
  for (nlohmann::json& each : run().results["records"]) each.update({{"guidance", 2.0}, {"ema", 0.999}});
  EXPECT_TRUE(report_page(data).at("verdict").at("pictures").empty());
  for (SamplePicture& picture : run().pictures) picture.ema = 0.999;
  EXPECT_FALSE(report_page(data).at("verdict").at("pictures").empty());
}

TEST_F(Report, ShowsSamplesOfTheFirstGuidanceAndAverageAskedFor) {
  offer_members();
  const Config config = resolve_config("", {{"evaluate.guidance", "1.5 1", ""}, {"evaluate.ema", "0", ""}});
  const RunDirectory directory(folder / "moved to");
  const StageGraph graph;
  std::filesystem::create_directories(directory.pictures());
  const std::string asked = "nf-0-fresh-euler-uniform-nfe-02-guidance-1.5-ema-0.png";
  for (const std::string& name : {asked, std::string("nf-0-fresh-euler-uniform-nfe-02.png")})
    std::ofstream(directory.pictures() / name) << "a picture";
  const RunReport found = read_run_report({config, directory, graph});
  ASSERT_EQ(found.pictures.size(), 1U);
  EXPECT_EQ(found.pictures[0].path.filename().string(), asked);
  EXPECT_EQ(found.pictures[0].guidance, 1.5);
  EXPECT_EQ(found.pictures[0].ema, 0);
  expect_has(found.command, {"--config 'moved to.ini' --run-dir 'runs/moved to-again' --ranks"});
}

TEST_F(Report, IsMadeAgainWhereAFileOfItIsGone) {
  const Config config{};
  const RunDirectory directory(folder / "run");
  const StageNode node{.name = "report", .kind = "report"};
  const StageGraph graph{node};
  const RunView view{config, directory, graph};
  const auto publish_all = [&] {
    for (const auto& path : {directory.report(), directory.report_data(), directory.results()}) {
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << "{}";
    }
  };
  publish_all();
  EXPECT_NE(report_news(node, view), "");
  note_contents(node, view);
  EXPECT_EQ(report_news(node, view), "");
  for (const auto& path : {directory.report(), directory.report_data(), directory.results()}) {
    std::filesystem::remove(path);
    EXPECT_EQ(report_news(node, view), path.filename().string() + " is not there");
    publish_all();
  }
  EXPECT_EQ(report_news(node, view), "");
}

TEST_F(Report, SaysWhatOneStudentScores) {
  nlohmann::json records = nlohmann::json::array();
  for (const auto& [nfe, value] : {std::pair{1, 8.8}, {2, 3.8}}) records.push_back(record("nf", nfe, value));
  run().results = {{"records", records}};
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"What was scored?", "nf</strong>No two couplings have been scored", "How good is it?",
                    "3.80</strong>the lowest Fréchet distance, at NFE 2 (euler, uniform)."});
  expect_lacks(html, {"not known yet", "Which coupling won?"});
}

TEST_F(Report, NamesStudentsGuidanceAndAverages) {
  nlohmann::json records = nlohmann::json::array();
  for (const auto& [student, coupling, guidance, ema, value] :
       {std::tuple{"independent", "independent", 1.0, 0.9999, 9.0},
        {"independent", "independent", 2.0, 0.9999, 8.0},
        {"large", "nf", 1.0, 0.9999, 4.0},
        {"large", "nf", 2.0, 0.9999, 3.0},
        {"large", "nf", 2.0, 0.0, 6.0}}) {
    records.push_back(other(record(coupling, 4, value),
                            {{"student", student}, {"guidance", guidance}, {"ema", ema}, {"table", "nf"}}));
  }
  run().results = {{"records", records}};
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(
      html, {"Which student won?", "large, guidance 2, EMA 0.9999</strong>best at every NFE compared: 4",
             "large, guidance 2, EMA 0.9999 beats independent, guidance 2, EMA 0.9999 at NFE 4, by most 2.67 times",
             "large, guidance 2, raw weights beats independent, EMA 0.9999", "<th scope=\"row\">large, EMA 0.9999</th>",
             "<th scope=\"col\">EMA</th>", "<th scope=\"col\">table</th>", "<td>large</td>"});
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
  const std::string html = page_of(data);
  const std::string others =
      html.substr(html.find("id=\"other-metrics\""), html.find("id=\"coupling\"") - html.find("id=\"other-metrics\""));
  expect_has(others, {"<td class=\"best\">0.0100 (0.003)</td>", "<td class=\"best\">0.900</td>",
                      "<td>0.0200 (0.003)</td>", "<td>0.500</td>", "<td>0.900</td>"});
  expect_lacks(others, {"0.987"});
}

TEST_F(Report, OfSeveralRunsNamesThemEverywhere) {
  data.runs.push_back(finished_report(folder, "better", {4.4, 1.9, 1.65, 1.6}));
  const std::string html = page_of(data);
  EXPECT_EQ(parse(html), 0);
  expect_has(html, {"better: nf beats fashion: nf at every NFE compared", "fashion: nf beats fashion: independent",
                    "better: teacher, as sampled: 5.25", "fashion: student/nf-0", "better: nf, training images",
                    "Grid of samples of better: nf, Euler, uniform grid, NFE 2", "runs/better-again"});
}

}  // namespace
}  // namespace couplet
