#include "pipeline/training_record.h"

#include "storage/atomic_file.h"
#include "storage/error.h"

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <limits>

namespace couplet {
namespace {

constexpr char metrics_name[] = "metrics.jsonl";
constexpr char events_name[] = "events.jsonl";

std::string time_text() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

void append_event(const std::filesystem::path& directory, const std::string& name, std::int64_t step,
                  std::int64_t lost_steps, int ranks) {
  const nlohmann::json line = {{"event", name},  {"step", step},        {"lost_steps", lost_steps},
                               {"ranks", ranks}, {"time", time_text()}, {"host", host_name()}};
  const auto path = directory / events_name;
  std::ofstream file(path, std::ios::app);
  file << line.dump() + "\n" << std::flush;
  if (!file) fail("{}: a line cannot be written", path.string());
}

}  // namespace

TrainingRecord::TrainingRecord(const std::filesystem::path& directory, bool resumed, std::int64_t first_step,
                               std::int64_t steps, std::int64_t batch, double interval_seconds,
                               const Communicator& communicator)
    : directory_(directory),
      steps_(steps),
      batch_(batch),
      ranks_(communicator.size()),
      progress_(first_step, steps, interval_seconds) {
  if (!communicator.is_root()) return;
  metrics_.emplace(directory_ / metrics_name, first_step);
  append_event(directory_, resumed ? "resume" : "start", first_step, metrics_->lost_steps(), ranks_);
  if (resumed) say("resuming at step {} of {}", first_step, steps_);
  if (metrics_->lost_steps() > 0)
    say("{} steps after the last checkpoint were lost and are done again", metrics_->lost_steps());
}

void TrainingRecord::step(const nlohmann::json& line) {
  if (!metrics_) return;
  metrics_->write(line);
  waited_ += line.value("data_stall", 0.0);
  worked_ += line.value("seconds", 0.0);
  say_progress(line.at("step").get<std::int64_t>() + 1, line);
}

void TrainingRecord::say_progress(std::int64_t done, const nlohmann::json& line) {
  if (!progress_.due(done)) return;
  const double stall = worked_ > 0 ? waited_ / worked_ : 0;
  const auto& loss = line.at("loss");  // null: not finite
  say("step {}/{}, loss {:.4f}, {:.0f} images/s, {} remaining{}", done, steps_,
      loss.is_number() ? loss.get<double>() : std::numeric_limits<double>::quiet_NaN(),
      progress_.rate(done) * static_cast<double>(batch_), progress_.remaining(done),
      stall > 0.01 ? fmt::format(", waited for data {:.0f} % of the time", 100 * stall) : "");
  waited_ = worked_ = 0;
}

void TrainingRecord::sync() const {
  if (metrics_) sync_path(directory_ / metrics_name);
}

void TrainingRecord::event(const std::string& name, std::int64_t steps_done) const {
  if (metrics_) append_event(directory_, name, steps_done, 0, ranks_);
}

}  // namespace couplet
