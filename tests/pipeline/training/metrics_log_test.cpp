#include "pipeline/training/metrics_log.h"

#include "storage/files/atomic_file.h"
#include "tests/pipeline/training/training_files.h"

#include <fmt/format.h>

#include <fstream>

namespace couplet {
namespace {

void write_lines(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST(Metrics, CutsWhatWillBeMadeAgain) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  std::string text;
  for (int step = 0; step < 10; ++step) text += fmt::format("{{\"step\":{},\"loss\":0.5}}\n", step);
  write_lines(path, text + "{\"step\":10,\"lo");  // a kill tore the last line
  {
    Metrics metrics(path, 7);
    EXPECT_EQ(metrics.lost_steps(), 3);
    metrics.write({{"step", 7}, {"loss", 0.1}});
  }
  const auto lines = json_lines(path);
  ASSERT_EQ(lines.size(), 8U);
  for (std::size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i].at("step"), i);
  EXPECT_EQ(lines.back().at("loss"), 0.1);
}

TEST(Metrics, StartsAnewAtStepZeroAndInAFileThatIsNotThere) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  { EXPECT_EQ(Metrics(path, 0).lost_steps(), 0); }
  write_lines(path, "{\"step\":0}\n{\"step\":1}\n");
  { EXPECT_EQ(Metrics(path, 0).lost_steps(), 2); }
  EXPECT_EQ(read_file(path), "");
  write_lines(path, "{\"st");
  { EXPECT_EQ(Metrics(path, 5).lost_steps(), 0); }
  EXPECT_EQ(read_file(path), "");
}

TEST(Metrics, RefusesALineThatIsNoJson) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  write_lines(path, "{\"step\":0}\nnonsense\n");
  expect_contains(error_of([&] { Metrics(path, 1); }), "byte 11");
}

TEST(Metrics, KeepsEveryDigit) {
  const SharedDirectory directory;
  const auto path = directory / "run" / "metrics.jsonl";
  const double value = 0.1 + 0.2;
  { Metrics(path, 0).write({{"step", 0}, {"loss", value}}); }
  EXPECT_EQ(json_lines(path).at(0).at("loss").get<double>(), value);
}

}  // namespace
}  // namespace couplet
