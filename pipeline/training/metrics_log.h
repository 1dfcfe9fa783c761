// The metrics of a training run: a JSON line a step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace couplet {

/// Append-only JSON lines, one whole line a write. Opening cuts lines whose "step" is at or beyond `first_step` (they
/// will be made again).
class Metrics {
public:
  Metrics(const std::filesystem::path& path, std::int64_t first_step);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  /// Steps that stood beyond `first_step` and were cut: work lost to an interruption.
  std::int64_t lost_steps() const { return lost_; }
  void write(const nlohmann::json& line);

private:
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t lost_ = 0;
};

}  // namespace couplet
