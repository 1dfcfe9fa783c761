// What a training run leaves behind besides its result: metrics.jsonl (a line for each step), events.jsonl (a line for
// each start and end), tensorboard/ (curves and pictures), previews/ (pictures), and plan and progress on stdout.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/memory_plan.h"
#include "pipeline/training/metrics_log.h"
#include "pipeline/training/observation.h"
#include "pipeline/training/plan.h"
#include "pipeline/training/task.h"
#include "storage/formats/tensorboard.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace couplet {

/// Says on rank 0, before the first step, the numbers of parameters and steps, the batch and its division, precision
/// and threads, what the images cost and what the ranks compute, and the memory.
void say_plan(const TrainingTask& task, const TrainingPlan& plan, std::int64_t micro_rows, std::int64_t parameters,
              const TrainingFlops& flops, const MemoryPlan& memory, const Communicator& communicator);

/// Writes on rank 0. On the other ranks its calls do nothing.
class TrainingRecord {
public:
  /// Steps [first_step, plan.steps) are about to run. What a killed run left of them (metrics, curves, previews) is
  /// cut, and counts as the lost steps of the event "start" (there was no checkpoint) or "resume". Progress lines come
  /// at least `interval_seconds` apart.
  TrainingRecord(const std::filesystem::path& directory, bool resumed, std::int64_t first_step,
                 const TrainingPlan& plan, const TrainingFlops& flops, double interval_seconds,
                 const Communicator& communicator);

  /// Records a finished step: its metrics line, in which "step" is its number from 0, and what was seen of the model
  /// after it, whose figures stand in the line already. The curves take every line with such figures, and of the others
  /// every n-th, so that a run has at most 2000.
  void step(const nlohmann::json& line, const Observation& seen);
  /// Makes the metrics so far safe on the disk, before the checkpoint that will resume behind them.
  void sync() const;
  /// Appends {"event": "interrupted" or "finished", "step": steps done, ...}.
  void event(const std::string& name, std::int64_t steps_done) const;

private:
  void keep_curves(std::int64_t step, const nlohmann::json& line, const Observation& seen);
  void say_progress(std::int64_t done, const nlohmann::json& line);

  std::filesystem::path directory_;
  std::int64_t steps_, batch_;
  TrainingFlops flops_;
  int ranks_;
  Progress progress_;
  std::optional<Metrics> metrics_;
  std::optional<EventFile> curves_;

  /// What has happened since the last progress line.
  struct Interval {
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
    std::int64_t first = 0;                                      ///< how many steps had been done when it began
    double data_stall = 0, communication_stall = 0, worked = 0;  ///< seconds
  } interval_;
};

}  // namespace couplet
