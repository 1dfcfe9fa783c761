// What keys must fulfil together.
#include "pipeline/batch_split.h"
#include "pipeline/options.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace couplet {

namespace {

/// The multiples of `unit` on both sides of `value`.
std::string nearest_multiples(std::int64_t value, std::int64_t unit) {
  const std::int64_t below = value / unit * unit;
  return below == 0 ? fmt::format("{}", unit) : fmt::format("{} or {}", below, below + unit);
}

void require_multiple(const char* key, std::int64_t value, const char* of_key, std::int64_t of) {
  if (value % of != 0)
    refuse("{} = {} is not a multiple of {} = {}; the nearest valid: {}", key, value, of_key, of,
           nearest_multiples(value, of));
}

template <class T>
void require_distinct(const char* key, const std::vector<T>& values) {
  std::set<T> seen;
  for (const auto& value : values)
    if (!seen.insert(value).second) refuse("{} lists {} twice", key, value);
  if (values.empty()) refuse("{} is empty; give at least one", key);
}

void check_training(const std::string& section, const TrainingConfig& training, const PipelineConfig& pipeline) {
  require_distinct((section + ".ema").c_str(), training.ema);
  require_sliceable(pipeline, section, training.batch);
  if (training.final_learning_rate > training.learning_rate)
    refuse("{0}.final-learning-rate = {1} is above {0}.learning-rate = {2}", section, training.final_learning_rate,
           training.learning_rate);
}

void check_batch(const std::string& section, std::int64_t batch, std::int64_t ranks) {
  if (batch % ranks == 0) return;
  std::vector<std::int64_t> valid;
  for (std::int64_t count = 1; count <= std::min<std::int64_t>(batch, 64); ++count)
    if (batch % count == 0) valid.push_back(count);
  refuse("{}.batch = {} does not divide by {} ranks; the nearest valid batch: {}; ranks that divide {}: {}", section,
         batch, ranks, nearest_multiples(batch, ranks), batch, fmt::join(valid, ", "));
}

}  // namespace

void validate(const Config& config) {
  require_slices(config.pipeline, 1);
  check_training("features", config.features.training, config.pipeline);
  check_training("teacher", config.teacher.training, config.pipeline);
  check_training("student", config.student.training, config.pipeline);

  require_multiple("teacher.channels", config.teacher.channels, "teacher.head-size", config.teacher.head_size);
  require_multiple("student.channels", config.student.channels, "student.heads", config.student.heads);
  if (config.student.channels % 4 != 0)
    refuse(
        "student.channels = {} is not a multiple of 4, which the sine and cosine positions need; the nearest valid: {}",
        config.student.channels, nearest_multiples(config.student.channels, 4));
  require_multiple("prepare.shard-rows", config.prepare.shard_rows, "prepare.block-rows", config.prepare.block_rows);
  require_multiple("couple.shard-rows", config.couple.shard_rows, "couple.block-rows", config.couple.block_rows);

  require_distinct("student.couplings", config.student.couplings);
  require_distinct("student.seeds", config.student.seeds);
  require_distinct("evaluate.euler-nfe", config.evaluate.euler_nfe);
  require_distinct("evaluate.heun-nfe", config.evaluate.heun_nfe);
  require_distinct("evaluate.grids", config.evaluate.grids);
  for (const std::int64_t nfe : config.evaluate.heun_nfe)
    if (nfe % 2 == 0)
      refuse("evaluate.heun-nfe = {} is even; Heun steps with a last Euler step take 2n - 1 evaluations: {} or {}", nfe,
             nfe - 1, nfe + 1);
}

void validate_ranks(const Config& config, std::int64_t ranks, const std::string& kind) {
  const auto check = [&](const char* section, const TrainingConfig& training) {
    if (!kind.empty() && kind != section) return;
    require_slices(config.pipeline, ranks);
    check_batch(section, training.batch, ranks);
  };
  check("features", config.features.training);
  check("teacher", config.teacher.training);
  check("student", config.student.training);
}

}  // namespace couplet
