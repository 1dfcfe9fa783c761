// What the report says of scores: spreads, comparisons, the verdict, the table of the terminal, what may be compared.
#include "tests/stages/report/report_testing.h"

#include "stages/report/score_table.h"
#include "stages/report/sections/findings.h"
#include "stages/results/comparison.h"
#include "stages/results/likelihoods.h"
#include "stages/results/score_basis.h"
#include "stages/results/verdict.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace couplet {
namespace {

std::string said(const char* sentence, const Json& data) {
  return render(report_templates(), sentence, data, Escape::none);
}

std::string sentence_of(const Comparison& comparison) {
  return said("comparison", comparison_json(comparison));
}

std::string headline(const std::vector<double>& nf) {
  const Scores scores = read_scores(finished_run(nf));
  const std::vector<Comparison> comparisons = compare(scores);
  return comparisons.size() == 1 ? sentence_of(comparisons[0]) + " " + said("crossing", comparison_json(comparisons[0]))
                                 : "";
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
  expect_has(sentence_of(compare(scores)[0]),
             {"over 3 training seeds", "at NFE 2 the difference is within their spread"});
  expect_has(score_table(scores), {"5.00 ± 1 Eu", "mean ± standard deviation over 3 training seeds"});
}

TEST(ScoreTable, HasEveryPart) {
  const std::string table = score_table(read_scores(finished_run({8.8, 3.8, 3.3, 3.2})));
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
                     "held-out images: 0.00630",
                     "cross between NFE 4 and 8",
                     "8.80 → 2.20 at NFE 1",
                     "independent 0.0386; nf 0.0181",
                     "train rows at 0.432 of the class's median distance",
                     "test rows nearest their image in 62.5 %",
                     "teacher 0.871",
                     "5000 samples a score"});
  expect_lacks(table, {"FID", "16.8"});
  EXPECT_LT(table.find("\nindependent "), table.find("\nnf "));
}

TEST(ScoreTable, AnUnfinishedRunLeavesPartsOut) {
  EXPECT_EQ(score_table(read_scores(nlohmann::json::object())), "");
  const nlohmann::json teacher = other(record("", 0, 5.25), {{"model", "teacher"}});
  const std::string only_teacher = score_table(read_scores({{"records", {teacher}}}));
  expect_has(only_teacher, {"teacher: 5.25 as sampled"});
  expect_lacks(only_teacher, {"NFE", "ratio", "curvature", "pairing", "held-out"});
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

TEST(ScoreTable, RefusesFieldsOfAnotherType) {
  EXPECT_THROW(read_scores({{"records", {{{"model", 3}}}}}), Error);
}

// Training seeds 0 and 1, sampling seeds 0 and 1: means 2 and 6, variances within 2 and 2.
TEST(Spread, TrainingAndSamplingAreToldApart) {
  nlohmann::json records = nlohmann::json::array();
  for (const auto& [seed, sampling, value] : {std::tuple{0, 0, 1.0}, {0, 1, 3.0}, {1, 0, 5.0}, {1, 1, 7.0}})
    records.push_back(other(record("nf", 1, value, seed), {{"sampling_seed", sampling}}));
  const ScoreSummary both = read_scores({{"records", records}}).curve("nf", "fresh")->scores.at(1);
  EXPECT_DOUBLE_EQ(both.mean, 4);
  EXPECT_DOUBLE_EQ(both.sd, std::sqrt(8.0));
  EXPECT_DOUBLE_EQ(both.sampling_sd, std::sqrt(2.0));
  EXPECT_EQ(both.seeds, 2);
  EXPECT_EQ(both.sampling_seeds, 2);
  EXPECT_EQ(score_text(both), "4.00 ± 2.8 [1.4]");

  records = {records[0], records[1]};
  const Scores of_one = read_scores({{"records", records}});
  const ScoreSummary one = of_one.curve("nf", "fresh")->scores.at(1);
  EXPECT_DOUBLE_EQ(one.sd, 0);
  EXPECT_EQ(score_text(one), "2.00 [1.4]");
  EXPECT_EQ(said("spread", spread_json(of_one)), "in [ ]: standard deviation over 2 sampling seeds of one model");
}

TEST(Spread, OfSamplingAloneIsNoCertaintyAboutTraining) {
  nlohmann::json records = nlohmann::json::array();
  for (const int sampling : {0, 1}) {
    const double shift = sampling == 0 ? -0.5 : 0.5;
    for (const auto& [coupling, nfe, value] :
         {std::tuple{"independent", 1, 10.0}, {"nf", 1, 5.0}, {"independent", 2, 4.0}, {"nf", 2, 3.5}})
      records.push_back(other(record(coupling, nfe, value + shift), {{"sampling_seed", sampling}}));
  }
  // The spread of a difference is √(0.5 + 0.5) = 1: 5 exceeds it, 0.5 does not.
  const Scores scores = read_scores({{"records", records}});
  expect_has(said("confidence", comparison_json(compare(scores)[0])),
             {"One training seed each: how far seeds scatter was not measured", "2 sampling seeds",
              "at NFE 2 the difference is within their spread"});
}

TEST(Spread, SeedsOfAnAdaptiveSolverAreOneScoreWhateverTheirNfe) {
  const nlohmann::json first = other(record("nf", 70, 2, 0, "dopri5", ""), {{"atol", 1e-5}, {"rtol", 1e-5}});
  const Scores scores =
      read_scores({{"records", {first, other(first, {{"seed", 1}, {"nfe", 75}, {"value", 4}}), record("nf", 8, 5)}}});
  const auto& found = scores.curve("nf", "fresh")->scores;
  ASSERT_EQ(found.size(), 2U);
  ASSERT_TRUE(found.contains(73));  // (70 + 75) / 2, rounded
  EXPECT_DOUBLE_EQ(found.at(73).mean, 3);
  EXPECT_EQ(found.at(73).seeds, 2);
  EXPECT_EQ(setting_text(found.at(73)), "dopri5, atol 1e-05, rtol 1e-05");
}

TEST(Spread, EqualValuesHaveNone) {
  const Scores scores =
      read_scores({{"records", {record("nf", 1, 0.1, 0), record("nf", 1, 0.1, 1), record("nf", 1, 0.1, 2)}}});
  EXPECT_EQ(score_text(scores.curve("nf", "fresh")->scores.at(1)), "0.100 ± 0");
}

using Nfe = std::vector<std::int64_t>;

TEST(Verdict, SaysWhoWhereHowMuch) {
  const Scores scores = read_scores(finished_run({8.8, 3.8, 3.3, 3.2}));
  const Verdict verdict = find_verdict(scores);
  ASSERT_NE(verdict.winner, nullptr);
  EXPECT_EQ(verdict.winner->student, "nf");
  EXPECT_EQ(verdict.best_at, (Nfe{1, 2, 4}));
  EXPECT_EQ(verdict.compared, 4U);
  ASSERT_EQ(verdict.rivals.size(), 1U);
  EXPECT_EQ(verdict.rivals[0].curve->student, "independent");
  EXPECT_EQ(verdict.rivals[0].best_at, (Nfe{8}));
  EXPECT_FALSE(verdict.rivals[0].level);
  EXPECT_EQ(verdict.against.baseline->student, "independent");
  EXPECT_EQ(verdict.against.best(), 2);
  EXPECT_NEAR(verdict.against.ratio.at(2), 8.7 / 3.8, 1e-12);
}

TEST(Verdict, TheBaselineCanWin) {
  const Scores scores = read_scores(finished_run({20, 10, 5, 2.5}));
  const Verdict verdict = find_verdict(scores);
  ASSERT_NE(verdict.winner, nullptr);
  EXPECT_EQ(verdict.winner->student, "independent");
  EXPECT_EQ(verdict.best_at, (Nfe{1, 2, 4, 8}));
  EXPECT_TRUE(verdict.rivals.empty());
  EXPECT_NEAR(verdict.against.ratio.at(verdict.against.best()), 5 / 3.8, 1e-12);  // at NFE 4
}

TEST(Verdict, EqualScoresAreNoWin) {
  const auto scores_of = [](const std::vector<std::vector<double>>& couplings) {
    nlohmann::json records = nlohmann::json::array();
    const std::vector<std::string> names = {"independent", "twin", "nf"};
    for (std::size_t i = 0; i < couplings.size(); ++i)
      for (std::size_t k = 0; k < 2; ++k)
        records.push_back(record(names[i], static_cast<std::int64_t>(k) + 1, couplings[i][k]));
    return read_scores({{"records", records}});
  };
  const Scores three = scores_of({{4, 2}, {4, 2}, {5, 3}});
  const Verdict verdict = find_verdict(three);
  ASSERT_NE(verdict.winner, nullptr);
  EXPECT_EQ(verdict.winner->student, "independent");
  ASSERT_EQ(verdict.rivals.size(), 1U);
  EXPECT_EQ(verdict.rivals[0].curve->student, "twin");
  EXPECT_TRUE(verdict.rivals[0].level);
  EXPECT_EQ(verdict.against.baseline->student, "nf");
  EXPECT_EQ(verdict.against.best(), 2);
  EXPECT_DOUBLE_EQ(verdict.against.ratio.at(2), 1.5);
  const Scores two = scores_of({{4, 2}, {4, 2}});
  EXPECT_TRUE(find_verdict(two).against.level());
  EXPECT_EQ(find_verdict(two).against.baseline->student, "twin");
}

// Each student is scored with two guidance scales; the first has averaged weights of two rates besides.
nlohmann::json guided_run() {
  nlohmann::json records = nlohmann::json::array();
  const auto add = [&](const char* student, const char* coupling, double guidance, double ema, double value) {
    records.push_back(other(record(coupling, 4, value), {{"student", student}, {"guidance", guidance}, {"ema", ema}}));
  };
  add("large", "nf", 1, 0.999, 6);
  add("large", "nf", 2, 0.999, 3);
  add("base", "independent", 1, 0.999, 9);
  add("base", "independent", 2, 0.999, 12);
  add("large", "nf", 1, 0.9999, 5);
  return {{"records", records}};
}

TEST(Curves, AreOfAStudentWithItsGuidanceAndAverage) {
  const Scores scores = read_scores(guided_run());
  std::vector<std::string> models;
  for (const ScoreCurve& curve : scores.curves) models.push_back(curve.model());
  // Students of independent pairs first; guidance 1 is none.
  EXPECT_EQ(models, (std::vector<std::string>{"base, EMA 0.999", "base, guidance 2, EMA 0.999", "large, EMA 0.999",
                                              "large, guidance 2, EMA 0.999", "large, EMA 0.9999"}));
  EXPECT_DOUBLE_EQ(scores.curves[3].scores.at(4).mean, 3);
}

TEST(Curves, AreComparedAtEqualGuidanceAndAverage) {
  const Scores scores = read_scores(guided_run());
  std::vector<std::string> pairs;
  for (const Comparison& comparison : compare(scores))
    pairs.push_back(comparison.curve->model() + " / " + comparison.baseline->model());
  EXPECT_EQ(pairs, (std::vector<std::string>{"large, EMA 0.999 / base, EMA 0.999",
                                             "large, guidance 2, EMA 0.999 / base, guidance 2, EMA 0.999",
                                             "large, EMA 0.9999 / base, EMA 0.999"}));
  const Verdict verdict = find_verdict(scores);
  EXPECT_EQ(verdict.winner->model(), "large, guidance 2, EMA 0.999");
  EXPECT_EQ(verdict.against.baseline->model(), "base, guidance 2, EMA 0.999");
}

TEST(Curves, AreComparedBeyondTheOneStepOfTheFirst) {
  nlohmann::json records = nlohmann::json::array();
  records.push_back(record("blur", 1, 20));
  for (const std::int64_t nfe : {1, 4}) {
    records.push_back(record("low", nfe, 10));
    records.push_back(record("nf", nfe, 5));
  }
  const Scores scores = read_scores({{"records", records}});
  std::vector<std::string> found;
  for (const Comparison& comparison : compare(scores))
    for (const auto& [nfe, ratio] : comparison.ratio)
      found.push_back(
          fmt::format("{} / {} at {}: {}", comparison.curve->model(), comparison.baseline->model(), nfe, ratio));
  EXPECT_EQ(found, (std::vector<std::string>{"low / blur at 1: 2", "nf / blur at 1: 4", "nf / low at 4: 2"}));
  EXPECT_EQ(find_verdict(scores).against.baseline->model(), "low");
}

TEST(Curves, AreOfATemperatureAndComparedAtTheSame) {
  nlohmann::json records = nlohmann::json::array();
  const auto add = [&](const char* student, double temperature, double value, const char* noise = "fresh") {
    nlohmann::json added = other(record(student, 4, value), {{"noise", noise}});
    if (temperature != 1) added["temperature"] = temperature;
    records.push_back(added);
  };
  add("independent", 1, 9);
  add("nf", 1, 6);
  add("nf", 0.9, 3);
  add("nf", 1, 2, "table");
  const auto pairs = [&] {
    const Scores scores = read_scores({{"records", records}});
    std::vector<std::string> found;
    for (const Comparison& comparison : compare(scores))
      found.push_back(comparison.curve->model() + " / " + comparison.baseline->model());
    return found;
  };
  EXPECT_EQ(pairs(), (std::vector<std::string>{"nf / independent"})) << "none at 0.9";
  const Scores colder = read_scores({{"records", records}});
  EXPECT_EQ(find_verdict(colder).winner->model(), "nf, temperature 0.9");
  ASSERT_EQ(colder.curves.size(), 4U);
  EXPECT_EQ(setting_text(colder.curves[3].scores.at(4)), "euler, uniform, temperature 0.9");
  // What is left of the gap is seen from either.
  for (const ScoreCurve& curve : colder.curves)
    if (curve.student == "nf" && curve.noise == "fresh") {
      const ScoreCurve* table = colder.from_noise("table", curve);
      ASSERT_NE(table, nullptr) << curve.model();
      EXPECT_EQ(colder.in_setting(curve, 4, table->scores.at(4), "frechet_distance")->mean,
                curve.temperature == 1 ? 6 : 3);
    }

  add("independent", 0.9, 12);
  EXPECT_EQ(pairs(),
            (std::vector<std::string>{"nf / independent", "nf, temperature 0.9 / independent, temperature 0.9"}));
  const Scores both = read_scores({{"records", records}});
  EXPECT_EQ(find_verdict(both).against.baseline->model(), "independent, temperature 0.9");
}

TEST(Curves, AreOfOneNumberOfCandidates) {
  nlohmann::json records = nlohmann::json::array();
  for (const auto& [coupling, noise, candidates, value] : {std::tuple{"independent", "fresh", 1, 9.0},
                                                           {"nf", "fresh", 1, 6.0},
                                                           {"nf", "fresh", 4, 4.0},
                                                           {"nf", "table", 1, 2.0}})
    records.push_back(other(record(coupling, 4, value), {{"noise", noise}, {"candidates", candidates}}));
  records.push_back(other(record("nf", 128, 0.02), {{"metric", "curvature"}}));
  const Scores scores = read_scores({{"records", records}});
  std::vector<std::string> labels;
  for (const ScoreCurve& curve : scores.curves) labels.push_back(curve.label());
  EXPECT_EQ(labels, (std::vector<std::string>{"independent", "nf", "nf, from held-out table z", "nf, 4 candidates"}));
  const ScoreCurve &own = scores.curves[1], &chosen = scores.curves[3];
  EXPECT_DOUBLE_EQ(chosen.scores.at(4).mean, 4);
  EXPECT_EQ(setting_text(chosen.scores.at(4)), "euler, uniform, 4 candidates");
  // All of them are beside the table's own noise, and compared with the independent pairs, which have no candidates.
  for (const ScoreCurve* curve : {&own, &chosen}) {
    ASSERT_NE(scores.from_noise("table", *curve), nullptr);
    EXPECT_DOUBLE_EQ(scores.in_setting(*curve, 4, scores.curves[2].scores.at(4), "frechet_distance")->mean,
                     curve->scores.at(4).mean);
    EXPECT_EQ(scores.counterpart("independent", "", *curve), &scores.curves[0]);
  }
  EXPECT_TRUE(scores.of_curve(own, "curvature"));
  EXPECT_FALSE(scores.of_curve(chosen, "curvature"));
}

TEST(Curves, OfRecordsWithoutStudentOrAverageAreNamedByTheirCoupling) {
  const Scores scores = read_scores({{"records", {record("nf", 1, 3)}}});
  ASSERT_EQ(scores.curves.size(), 1U);
  EXPECT_EQ(scores.curves[0].student, "nf");
  EXPECT_EQ(scores.curves[0].model(), "nf");
  EXPECT_EQ(scores.records[0].ema, -1);
  EXPECT_TRUE(scores.records[0].made_with.is_null());
  const nlohmann::json with =
      other(record("nf", 1, 3), {{"made_with", {{"evaluate.precision", "float32"}}}, {"table", "reflow"}, {"ema", 0}});
  const ScoreRecord found = read_records({{"records", {with}}}).at(0);
  EXPECT_EQ(found.made_with.at("evaluate.precision"), "float32");
  EXPECT_EQ(found.table, "reflow");
  EXPECT_EQ(found.ema, 0);
}

TEST(Verdict, NeedsTwoStudents) {
  EXPECT_EQ(find_verdict(read_scores({{"records", {record("nf", 1, 3)}}})).winner, nullptr);
  EXPECT_EQ(find_verdict(read_scores(nlohmann::json::object())).winner, nullptr);
  // Curves from table noise are no rivals.
  EXPECT_EQ(
      find_verdict(read_scores({{"records", {record("nf", 1, 3), other(record("nf", 1, 1), {{"noise", "table"}})}}}))
          .winner,
      nullptr);
  const Scores one = read_scores({{"records", {record("nf", 1, 3), record("nf", 2, 2)}}});
  EXPECT_EQ(find_verdict(one).alone->student, "nf");
}

TEST(SeveralRuns, AreToldApartAndComparedCouplingByCoupling) {
  const Scores scores =
      read_all_scores({{"a", finished_run({8.8, 3.8, 3.3, 3.2})}, {"b", finished_run({4.4, 1.9, 1.65, 1.6})}});
  ASSERT_NE(scores.curve("nf", "fresh", "b"), nullptr);
  EXPECT_DOUBLE_EQ(scores.curve("nf", "fresh", "a")->scores.at(1).mean, 8.8);
  EXPECT_DOUBLE_EQ(scores.curve("nf", "fresh", "b")->scores.at(1).mean, 4.4);
  ASSERT_EQ(scores.levels.size(), 2U);
  EXPECT_DOUBLE_EQ(scores.levels[1].teacher->mean, 5.25);
  std::string sentences;
  for (const Comparison& comparison : compare(scores)) sentences += sentence_of(comparison) + "\n";
  expect_has(sentences, {"a: nf beats a: independent at NFE 1, 2 and 4", "b: nf beats b: independent at every NFE",
                         "b: nf beats a: nf at every NFE compared (NFE 1, 2, 4 and 8), by most 2.00 times",
                         "b: independent and a: independent score the same"});
  EXPECT_EQ(find_verdict(scores).winner->model(), "b: nf");
}

TEST(Likelihoods, TeacherFirstWithTheirErrors) {
  const nlohmann::json bits{{"model", "student"}, {"coupling", "nf"},   {"metric", "bits_per_dim"}, {"value", 3.25},
                            {"samples", 256},     {"solver", "dopri5"}, {"standard_error", 0.015},  {"trace", "exact"}};
  const nlohmann::json teacher =
      other(bits, {{"model", "teacher"}, {"coupling", ""}, {"value", 2.5}, {"trace", nullptr}});
  const auto all =
      likelihoods(read_scores({{"records", {bits, other(bits, {{"seed", 1}, {"value", 3.75}}), teacher}}}));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].model, "teacher");
  EXPECT_EQ(all[0].text(), "2.5 ± 0.015");
  EXPECT_EQ(all[1].model, "nf");
  EXPECT_EQ(all[1].text(), "3.5 ± 0.35 ± 0.015 (images)");
  EXPECT_EQ(all[1].trace, "exact");
}

TEST(ScoreTable, HasPairsAndLikelihoods) {
  const nlohmann::json pair =
      other(record("nf", 8, 21.5), {{"noise", "table"}, {"split", "train"}, {"metric", "psnr"}});
  const nlohmann::json bits{{"model", "student"}, {"coupling", "nf"}, {"metric", "bits_per_dim"}, {"value", 3.25}};
  const nlohmann::json held_out = other(pair, {{"split", "test"}, {"value", 20}});
  expect_has(score_table(read_scores(
                 {{"records",
                   {record("nf", 1, 3), pair, other(pair, {{"metric", "ssim"}, {"value", 0.75}}), held_out, bits}}})),
             {"pairing of nf: train rows' PSNR 21.50 dB, train rows' SSIM 0.750, test rows' PSNR 20.00 dB",
              "bits/dim of held-out images: nf 3.25"});
}

TEST(Basis, NamesWhatDiffers) {
  const ScoreBasis a{"a", "data", {"net"}, {"none"}, {5000}, {"training images"}};
  ScoreBasis b = a;
  b.run = "b";
  EXPECT_EQ(difference(a, b), "");
  b.samples = {2500};
  EXPECT_EQ(difference(a, b), "the number of samples a score of a is 5000, of b 2500");
  b.resize = {"inside the network"};
  EXPECT_EQ(difference(a, b), "the network's resize of a is none, of b inside the network");
  b.network = {"other"};
  EXPECT_EQ(difference(a, b), "the network's hash of a is net, of b other");
  b.reference = {"0123"};
  EXPECT_EQ(difference(a, b), "evaluate.reference of a is training images, of b 0123");
  b.dataset = "more";
  EXPECT_EQ(difference(a, b), "the data set of a is data, of b more");
  b.crop = "edm";
  EXPECT_EQ(difference(a, b), "the data set of a is data, of b more") << "where one of them does not say";
  ScoreBasis of_adm = a;
  of_adm.crop = "adm";
  EXPECT_EQ(difference(of_adm, b), "prepare.crop of a is adm, of b edm");
  // What nobody recorded cannot be known to be the same.
  ScoreBasis c = a, d = a;
  c.network = d.network = {""};
  EXPECT_NE(difference(c, d), "");
  c = d = a;
  c.reference = d.reference = {""};
  EXPECT_NE(difference(c, d), "");
}

TEST(Basis, HasTheReferenceThatScoresWereMadeWith) {
  const RunDirectory run("/no/run");
  Config config{};
  const nlohmann::json plain = other(record("nf", 1, 3), {{"network_hash", "abcd"}}),
                       referred = other(plain, {{"made_with", {{"evaluate.reference", "0123"}}}});
  const auto reference = [&](const nlohmann::json& score) {
    return score_basis("a", run, config, {{"records", {score}}}).reference;
  };
  EXPECT_EQ(reference(plain), std::set<std::string>{"training images"});
  config.evaluate.reference = "/no/statistics.npz";
  EXPECT_EQ(reference(referred), std::set<std::string>{"0123"});
  EXPECT_EQ(reference(plain), std::set<std::string>{""}) << "it was not recorded";
}

}  // namespace
}  // namespace couplet
