// The metrics of a training run, one JSON line a step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace couplet {

/// A file to which JSON lines are appended, one whole line a write. Opening it cuts the lines whose "step" is at or
/// beyond `first_step`, as they will be made again.
class Metrics {
public:
  Metrics(const std::filesystem::path& path, std::int64_t first_step);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  /// The number of steps that were cut: work lost to an interruption.
  std::int64_t lost_steps() const { return lost_; }
  void write(const nlohmann::json& line);

private:
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t lost_ = 0;
};

}  // namespace couplet
