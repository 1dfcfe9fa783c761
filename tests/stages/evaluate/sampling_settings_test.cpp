// Which ways of sampling an evaluation is asked for.
#include "stages/evaluate/sampling_settings.h"

#include "pipeline/config/options.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace couplet {
namespace {

std::vector<std::string> ways(std::vector<Setting> settings) {
  settings.push_back({"evaluate.euler-nfe", "", ""});
  settings.push_back({"evaluate.heun-nfe", "", ""});
  const Config config = resolve_config("", settings);
  std::vector<std::string> found;
  for (const SamplingSetting& setting : sampling_settings(config.evaluate, student_config(config, "nf"), ""))
    found.push_back(setting.integration.text());
  return found;
}

TEST(SamplingSettings, TakeStochasticSolversOnEveryGridAndOneStepOnce) {
  const std::vector<std::string> found = ways(
      {{"evaluate.ancestral-nfe", "1 4", ""}, {"evaluate.sde-nfe", "3", ""}, {"evaluate.corrector-nfe", "2 6", ""}});
  const std::vector<std::string> expected{
      "ancestral uniform NFE 1", "ancestral uniform NFE 4", "sde uniform NFE 3", "corrector uniform NFE 2",
      "corrector uniform NFE 6", "ancestral squared NFE 4", "sde squared NFE 3", "corrector squared NFE 6"};
  EXPECT_EQ(found, expected);
}

TEST(SamplingSettings, TakeOneStepOnTheFirstGridAlone) {
  const std::vector<std::string> found = ways({{"evaluate.midpoint-nfe", "2 4", ""}, {"evaluate.rk4-nfe", "4 8", ""}});
  const std::vector<std::string> expected{"midpoint uniform NFE 2", "midpoint uniform NFE 4", "rk4 uniform NFE 4",
                                          "rk4 uniform NFE 8",      "midpoint squared NFE 4", "rk4 squared NFE 8"};
  EXPECT_EQ(found, expected);
}

/// "fresh 0.9: euler uniform NFE 2", in their order.
std::vector<std::string> ways_at(const std::string& temperatures) {
  const Config config = resolve_config("", {{"evaluate.euler-nfe", "2", ""},
                                            {"evaluate.heun-nfe", "", ""},
                                            {"evaluate.grids", "uniform", ""},
                                            {"evaluate.sde-nfe", "3", ""},
                                            {"evaluate.temperature", temperatures, ""}});
  std::vector<std::string> found;
  for (const SamplingSetting& setting : sampling_settings(config.evaluate, student_config(config, "nf"), "nf"))
    found.push_back(fmt::format("{} {:g}: {}", setting.table.empty() ? "fresh" : "table", setting.field.temperature,
                                setting.integration.text()));
  return found;
}

TEST(SamplingSettings, ScaleFreshNoiseAloneAndForSolversThatAddNone) {
  EXPECT_EQ(ways_at("1 0.9"),
            (std::vector<std::string>{"fresh 1: euler uniform NFE 2", "fresh 1: sde uniform NFE 3",
                                      "fresh 0.9: euler uniform NFE 2", "table 1: euler uniform NFE 2"}));
  EXPECT_EQ(ways_at("0.9 0.8"),
            (std::vector<std::string>{"fresh 0.9: euler uniform NFE 2", "fresh 0.8: euler uniform NFE 2",
                                      "table 1: euler uniform NFE 2"}));
}

TEST(SamplingSettings, TakeOneStepOfOneStepStudentsWhateverIsAskedFor) {
  for (const Setting& one_step :
       {Setting{"student.kind", "image", ""}, Setting{"student.objective", "regression", ""}}) {
    Config config = resolve_config("", {one_step,
                                        {"evaluate.euler-nfe", "2 4", ""},
                                        {"evaluate.heun-nfe", "3", ""},
                                        {"evaluate.dopri5", "true", ""},
                                        {"evaluate.times", "0 0.5 1", ""},
                                        {"evaluate.sampling-seeds", "0 1", ""}});
    std::vector<std::string> found;
    for (const SamplingSetting& setting : sampling_settings(config.evaluate, student_config(config, "nf"), "nf"))
      found.push_back(setting.integration.text() + " " + std::to_string(setting.seed) + " " + setting.table);
    EXPECT_EQ(found, (std::vector<std::string>{"euler uniform NFE 1 0 ", "euler uniform NFE 1 1 ",
                                               "euler uniform NFE 1 0 nf"}))
        << one_step.text;
  }
}

TEST(SamplingSettings, TakeCandidatesOfStudentsWithATableOfNoise) {
  const Config config = resolve_config("", {{"evaluate.candidates", "1 4", ""},
                                            {"evaluate.euler-nfe", "1 2", ""},
                                            {"evaluate.heun-nfe", "", ""},
                                            {"evaluate.grids", "uniform", ""}});
  const auto candidates = [&](const std::string& student, bool has_noise) {
    std::vector<std::int64_t> found;
    const std::string table = has_noise ? "nf" : "";
    for (const SamplingSetting& setting :
         sampling_settings(config.evaluate, student_config(config, student), table, has_noise))
      found.push_back(setting.candidates);
    return found;
  };
  // Of held-out noise of the table there is nothing to choose.
  EXPECT_EQ(candidates("nf", true), (std::vector<std::int64_t>{1, 1, 4, 4, 1, 1}));
  EXPECT_EQ(candidates("independent", false), (std::vector<std::int64_t>{1, 1}));
}

TEST(SamplingSettings, ChooseCandidatesAtTemperatureOneAlone) {
  const Config config = resolve_config("", {{"evaluate.candidates", "1 4", ""},
                                            {"evaluate.temperature", "0.9 1", ""},
                                            {"evaluate.euler-nfe", "2", ""},
                                            {"evaluate.heun-nfe", "", ""},
                                            {"evaluate.grids", "uniform", ""}});
  std::vector<std::string> found;
  for (const SamplingSetting& setting : sampling_settings(config.evaluate, student_config(config, "nf"), "", true))
    found.push_back(fmt::format("{} of {:g}", setting.candidates, setting.field.temperature));
  EXPECT_EQ(found, (std::vector<std::string>{"1 of 0.9", "1 of 1", "4 of 1"}));
}

TEST(SamplingSettings, ScaleNothingWhereSamplesStartFromNoNoise) {
  const Config config =
      resolve_config("", {{"student.objective", "regression", ""}, {"evaluate.temperature", "0.9 0.8", ""}});
  std::vector<double> found;
  for (const SamplingSetting& setting : sampling_settings(config.evaluate, student_config(config, "nf"), ""))
    found.push_back(setting.field.temperature);
  EXPECT_EQ(found, std::vector<double>{1});
}

TEST(SamplingSettings, HaveASheetOfTheirOwn) {
  const Integration ancestral = stochastic_integration(StochasticSolver::ancestral, Grid::uniform, 25);
  const Config config = default_config();
  EXPECT_EQ(sheet_name("ddpm-0", "fresh", ancestral, {config.student.training.ema.front(), {}}, config.student),
            "ddpm-0-fresh-ancestral-uniform-nfe-25.png");
  EXPECT_EQ(
      sheet_name("nf-0", "fresh", fixed_integration(Solver::euler, Grid::uniform, 4), {0, {}, 0.95}, config.student),
      "nf-0-fresh-euler-uniform-nfe-04-temperature-0.95-ema-0.png");
  EXPECT_EQ(sheet_name("nf-0", "fresh", ancestral, {config.student.training.ema.front(), {}}, config.student, 4),
            "nf-0-fresh-ancestral-uniform-nfe-25-candidates-4.png");
}

TEST(SamplingSettings, AreNamedByWhatIsNotAsUsual) {
  const StudentConfig student = default_config().student;
  const double first = student.training.ema.front();
  EXPECT_EQ(field_text({first, {}}, student), "");
  EXPECT_EQ(field_text({0.5, {.scale = 2}, 0.95}, student), ", guidance 2, temperature 0.95, EMA 0.5");
  EXPECT_EQ(field_text({0, {}}, student), ", raw weights");
}

}  // namespace
}  // namespace couplet
