// What the trainer's tests read back: JSON lines, whole results.
#pragma once

#include "pipeline/training/task.h"
#include "tests/pipeline/pipeline_testing.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// A file that rank 0 wrote. Collective: rank 0 may still be writing when another rank's `train` returns.
inline std::vector<nlohmann::json> json_lines(const std::filesystem::path& path) {
  ranks().barrier();
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// Metrics without what differs from run to run.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& directory) {
  auto lines = json_lines(directory / "metrics.jsonl");
  for (auto& line : lines) {
    for (const char* key :
         {"seconds", "data_stall", "communication", "communication_stall", "checkpoint_pause", "observation_pause"})
      line.erase(key);
  }
  return lines;
}

inline void expect_same_result(const TrainingResult& left, const TrainingResult& right) {
  expect_bit_equal(left.weights, right.weights);
  expect_bit_equal(left.ema, right.ema);
  EXPECT_EQ(left.steps, right.steps);
  EXPECT_EQ(left.last.at("loss"), right.last.at("loss"));
}

}  // namespace couplet
