// Which ways of sampling an evaluation is asked for.
#include "stages/evaluate/sampling_settings.h"

#include "pipeline/config/options.h"

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

TEST(SamplingSettings, HaveASheetOfTheirOwn) {
  const Integration ancestral = stochastic_integration(StochasticSolver::ancestral, Grid::uniform, 25);
  const Config config = default_config();
  EXPECT_EQ(sheet_name("ddpm-0", "fresh", ancestral, {config.student.training.ema.front(), {}}, config.student),
            "ddpm-0-fresh-ancestral-uniform-nfe-25.png");
  EXPECT_EQ(sheet_name("nf-0", "fresh", ancestral, {config.student.training.ema.front(), {}}, config.student, 4),
            "nf-0-fresh-ancestral-uniform-nfe-25-candidates-4.png");
}

}  // namespace
}  // namespace couplet
