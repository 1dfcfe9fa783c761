// What the trainer's tests read back: a directory shared by the ranks, JSON lines, tensors bit by bit.
#pragma once

#include "pipeline/training/task.h"
#include "ranks.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace couplet {

/// A temporary directory, the same on all ranks; removed when all are done with it.
class SharedDirectory {
public:
  SharedDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "couplet-test-XXXXXX").string();
    if (ranks().is_root() && ::mkdtemp(path.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = ranks().broadcast_text(path, 0);
  }
  ~SharedDirectory() {
    ranks().barrier();
    if (ranks().is_root()) std::filesystem::remove_all(path_);
  }
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;
  /// A directory in it, made if it is not there.
  std::filesystem::path operator/(const std::string& name) const {
    const auto path = path_ / name;
    if (ranks().is_root()) std::filesystem::create_directories(path);
    ranks().barrier();
    return path;
  }

private:
  std::filesystem::path path_;
};

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

inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nnot found: " << part;
}

inline void expect_bit_equal(const NamedTensors& left, const NamedTensors& right) {
  ASSERT_EQ(left.size(), right.size());
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(tensors_hash(left), tensors_hash(right));
  for (const auto& [name, tensor] : left) EXPECT_TRUE(tensor.equal(right.at(name))) << name;
}

inline void expect_same_result(const TrainingResult& left, const TrainingResult& right) {
  expect_bit_equal(left.weights, right.weights);
  expect_bit_equal(left.ema, right.ema);
  EXPECT_EQ(left.steps, right.steps);
  EXPECT_EQ(left.last.at("loss"), right.last.at("loss"));
}

}  // namespace couplet
