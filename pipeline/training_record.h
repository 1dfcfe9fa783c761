// What a training run leaves behind besides its result: metrics.jsonl (a line a step), events.jsonl (a line a start and
// an end), progress on stdout.
#pragma once

#include "pipeline/communicator.h"
#include "pipeline/log.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace couplet {

/// Writes on rank 0; on the others its calls do nothing.
class TrainingRecord {
public:
  /// Steps [first_step, steps) are about to run. Metrics of steps from `first_step` on, left by a run that was killed,
  /// are cut; they are the lost steps of the event "start" (no checkpoint was there) or "resume". `batch`: images a
  /// step; `interval_seconds`: between progress lines.
  TrainingRecord(const std::filesystem::path& directory, bool resumed, std::int64_t first_step, std::int64_t steps,
                 std::int64_t batch, double interval_seconds, const Communicator& communicator);

  /// A finished step's metrics line: "step" is its number from 0; "loss" is shown.
  void step(const nlohmann::json& line);
  /// Makes the metrics so far safe on disk: before the checkpoint that will resume behind them.
  void sync() const;
  /// {"event": "interrupted" or "finished", "step": steps done, ...}.
  void event(const std::string& name, std::int64_t steps_done) const;

private:
  void say_progress(std::int64_t done, const nlohmann::json& line);

  std::filesystem::path directory_;
  std::int64_t steps_, batch_;
  int ranks_;
  Progress progress_;
  std::optional<Metrics> metrics_;
  double waited_ = 0, worked_ = 0;  ///< seconds since the last progress line: for data, and in all
};

}  // namespace couplet
