// What the report says of likelihood, distance and evaluations, of records that were made up.
#include "tests/stages/report/report_testing.h"

#include "stages/report/sections/page.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

namespace couplet {
namespace {

nlohmann::json adaptive(const std::string& student, double value, double tolerance, std::int64_t nfe) {
  return other(record(student, nfe, value, 0, "dopri5", ""), {{"atol", tolerance}, {"rtol", tolerance}});
}

nlohmann::json likelihood(const std::string& student, double bits) {
  return other(adaptive(student, bits, 1e-5, 90),
               {{"metric", "bits_per_dim"}, {"noise", ""}, {"standard_error", 0.02}});
}

/// `straight` and `noisy` by several solvers; only the first has a likelihood.
nlohmann::json family() {
  return {{"records",
           {adaptive("straight", 6.5, 1e-5, 142), adaptive("straight", 9.0, 1e-3, 40), likelihood("straight", 2.99),
            adaptive("noisy", 7.5, 1e-5, 274), record("straight", 8, 12.0), record("straight", 8, 11.0, 0, "heun"),
            record("noisy", 8, 40.0), record("noisy", 100, 8.0, 0, "ancestral")}}};
}

nlohmann::json solver_error(const std::string& student, double tolerance, double value, std::int64_t nfe) {
  return other(adaptive(student, value, tolerance, nfe), {{"metric", "solver_error"}, {"samples", 64}});
}

Json page_of(const nlohmann::json& results) {
  RunReport run;
  run.name = "family";
  run.results = results;
  return report_page({"family", "couplet", {run}, std::filesystem::temp_directory_path()});
}

TEST(Efficiency, IsATableOfLikelihoodDistanceAndEvaluations) {
  const Json page = page_of(family());
  const Json& models = page.at("efficiency").at("models");
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].at("name"), "straight");
  EXPECT_EQ(models[0].at("distance").at("value"), 6.5);  // at the tightest tolerance
  EXPECT_EQ(models[0].at("distance").at("best"), true);
  EXPECT_EQ(models[0].at("nfe").at("text"), "142");
  EXPECT_EQ(models[0].at("bits").at("text"), "2.99 ± 0.02");
  EXPECT_EQ(models[0].at("bits").at("best"), false);  // of nobody else
  EXPECT_EQ(models[1].at("bits"), nullptr);
  EXPECT_EQ(models[1].at("distance").at("best"), false);
  expect_has(report_html(page), {"Likelihood and efficiency", "2.99 ± 0.02", ">274<", "bits/dim"});
}

TEST(Efficiency, DrawsFixedStepsAndSamplersThatAddNoiseApart) {
  const Json lines = page_of(family()).at("efficiency").at("plot").at("lines");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].at("name"), "straight");
  ASSERT_EQ(lines[0].at("points").size(), 1u);  // dopri5 takes no fixed steps
  EXPECT_EQ(lines[0].at("points")[0][0], 8.0);
  EXPECT_EQ(lines[0].at("points")[0][1], 11.0);  // the best of two solvers
  EXPECT_EQ(lines[2].at("name"), "noisy, ancestral");
  EXPECT_EQ(lines[2].at("dashed"), true);
  EXPECT_EQ(lines[1].at("dashed"), false);
}

TEST(Efficiency, ShowsErrorAndEvaluationsByTolerance) {
  nlohmann::json results = family();
  for (const auto& [tolerance, value, nfe] : {std::tuple{0.1, 0.05, 14}, {1e-3, 0.002, 32}, {1e-5, 3e-5, 140}})
    results["records"].push_back(solver_error("straight", tolerance, value, nfe));
  results["records"].push_back(solver_error("noisy", 1e-3, 0.04, 60));
  const Json page = page_of(results);
  const Json& errors = page.at("efficiency").at("errors");
  ASSERT_EQ(errors.at("tolerances").size(), 3u);
  EXPECT_EQ(errors.at("tolerances")[0].at("text"), "0.1");  // from loose to tight
  EXPECT_EQ(errors.at("samples"), 64);
  EXPECT_EQ(errors.at("rows")[0].at("cells")[2].at("error").at("text"), "3.00e-05");
  EXPECT_EQ(errors.at("rows")[0].at("cells")[2].at("nfe"), 140);
  EXPECT_EQ(errors.at("rows")[1].at("cells")[0].at("error"), nullptr);
  EXPECT_EQ(errors.at("error_plot").at("lines").size(), 2u);
  EXPECT_EQ(errors.at("nfe_plot").at("lines")[0].at("points")[0][1], 140.0);
  expect_has(report_html(page), {"Error of dopri5 at each tolerance", "NFE 140", "64 samples"});
  // It is no metric of samples.
  EXPECT_EQ(page.at("other_metrics"), nullptr);
}

TEST(Efficiency, IsLeftOutWhereOnlyFixedStepsWereTaken) {
  EXPECT_EQ(page_of(finished_run({8.8, 3.8, 3.3, 3.2})).at("efficiency"), nullptr);
  expect_lacks(report_html(page_of(finished_run({8.8, 3.8, 3.3, 3.2}))), {"Likelihood and efficiency"});
}

}  // namespace
}  // namespace couplet
