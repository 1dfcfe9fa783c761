#include "pipeline/training/training_record.h"

#include "pipeline/checkpoint/checkpoint.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/host_name.h"

#include <ATen/Parallel.h>

#include <fstream>
#include <limits>
#include <map>
#include <vector>

namespace couplet {
namespace {

constexpr char metrics_name[] = "metrics.jsonl";
constexpr char events_name[] = "events.jsonl";
constexpr char curves_name[] = "tensorboard";
constexpr char previews_name[] = "previews";
constexpr std::int64_t most_points = 2000;  // of a curve

void append_event(const std::filesystem::path& directory, const std::string& name, std::int64_t step,
                  std::int64_t lost_steps, int ranks) {
  const nlohmann::json line = {{"event", name},
                               {"step", step},
                               {"lost_steps", lost_steps},
                               {"ranks", ranks},
                               {"time", utc_time_text(unix_now())},
                               {"host", host_name()}};
  const auto path = directory / events_name;
  std::ofstream file(path, std::ios::app);
  file << line.dump() + "\n" << std::flush;
  if (!file) fail("{}: a line cannot be written", path.string());
}

std::filesystem::path preview_path(const std::filesystem::path& directory, std::int64_t done) {
  return directory / previews_name / (checkpoint_name(done) + ".png");
}

/// Pictures of steps that are done again.
void remove_previews(const std::filesystem::path& directory, std::int64_t first_step) {
  const auto folder = directory / previews_name;
  if (!std::filesystem::exists(folder)) return;
  remove_leftovers(folder);
  const std::string last = preview_path(directory, first_step).filename().string();
  std::vector<std::filesystem::path> later;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > last.size() || (name.size() == last.size() && name > last)) later.push_back(entry.path());
  }
  for (const auto& path : later) std::filesystem::remove(path);
}

/// Every number of a metrics line but those that count steps.
std::map<std::string, double> numbers_of(const nlohmann::json& line) {
  std::map<std::string, double> numbers;
  for (const auto& [name, figure] : line.items()) {
    if (figure.is_number() && name != "step" && name != "images") numbers[name] = figure.get<double>();
  }
  return numbers;
}

/// "test_loss 0.5123, raw_test_loss 0.5127"
std::string figures_text(const nlohmann::json& figures) {
  std::string text;
  for (const auto& [name, figure] : figures.items()) {
    if (figure.is_number() && name != "observation_pause")
      text += fmt::format("{}{} {:.4f}", text.empty() ? "" : ", ", name, figure.get<double>());
  }
  return text;
}

/// ", 12 % waiting for data": nothing up to 1 %.
std::string stall_text(double waited, double worked, const char* what) {
  if (worked <= 0 || waited / worked <= 0.01) return "";
  return fmt::format(", {:.0f} % waiting for {}", 100 * waited / worked, what);
}

/// NaN where the metrics have null: a loss that is not finite.
double loss_of(const nlohmann::json& line) {
  const auto found = line.find("loss");
  return found != line.end() && found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

void say_plan(const TrainingTask& task, const TrainingPlan& plan, std::int64_t micro_rows, std::int64_t parameters,
              const TrainingFlops& flops, const MemoryPlan& memory, const Communicator& communicator) {
  if (!communicator.is_root()) return;
  const auto plural = [](std::int64_t count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  say("plan: {:.2f} M parameters; {} of {} images ({} on each of {}, {} at once), {} images in all; {}, {} a rank",
      static_cast<double>(parameters) / 1e6, plural(plan.steps, "step"), plan.batch, plan.rows,
      plural(communicator.size(), "rank"), micro_rows, plan.steps * plan.batch, task.training.precision,
      plural(at::get_num_threads(), "thread"));
  if (flops.per_image > 0) {
    say("plan: {} an image (forward and backward), {} in all; matrix products reach {}/s", flops_text(flops.per_image),
        flops_text(flops.per_image * static_cast<double>(plan.steps * plan.batch)), flops_text(flops.matmul_peak));
  }
  say("plan: memory a rank: {}", memory.text(micro_rows));
}

TrainingRecord::TrainingRecord(const std::filesystem::path& directory, bool resumed, std::int64_t first_step,
                               const TrainingPlan& plan, const TrainingFlops& flops, double interval_seconds,
                               const Communicator& communicator)
    : directory_(directory),
      steps_(plan.steps),
      batch_(plan.batch),
      flops_(flops),
      ranks_(communicator.size()),
      progress_(first_step, plan.steps, interval_seconds) {
  interval_.first = first_step;
  if (!communicator.is_root()) return;
  metrics_.emplace(directory_ / metrics_name, first_step);
  curves_.emplace(directory_ / curves_name, first_step, warn_line);
  remove_previews(directory_, first_step);
  append_event(directory_, resumed ? "resume" : "start", first_step, metrics_->lost_steps(), ranks_);
  if (resumed) say("resuming at step {} of {}", first_step, steps_);
  if (metrics_->lost_steps() > 0)
    say("{} steps after the last checkpoint were lost and are done again", metrics_->lost_steps());
}

void TrainingRecord::step(const nlohmann::json& line, const Observation& seen) {
  if (!metrics_) return;
  const auto step = line.at("step").get<std::int64_t>();
  const double seconds = line.value("seconds", 0.0);
  nlohmann::json whole = line;
  if (flops_.per_image > 0 && seconds > 0) whole["flops"] = flops_.per_image * static_cast<double>(batch_) / seconds;
  metrics_->write(whole);
  keep_curves(step, whole, seen);
  if (const std::string text = figures_text(seen.figures); !text.empty()) say("step {}: {}", step + 1, text);
  if (seen.picture) {
    const auto path = preview_path(directory_, step + 1);
    std::filesystem::create_directories(path.parent_path());
    write_png(path, *seen.picture);
    say("samples after step {}: {}", step + 1, path.string());
  }
  interval_.data_stall += line.value("data_stall", 0.0);
  interval_.communication_stall += line.value("communication_stall", 0.0);
  interval_.worked += seconds;
  say_progress(step + 1, line);
}

void TrainingRecord::keep_curves(std::int64_t step, const nlohmann::json& line, const Observation& seen) {
  const std::int64_t every = (steps_ + most_points - 1) / most_points;
  if (step % every == 0 || !seen.figures.empty()) curves_->add(step, numbers_of(line));
  if (seen.picture) curves_->add(step, "samples", *seen.picture);
}

void TrainingRecord::say_progress(std::int64_t done, const nlohmann::json& line) {
  if (!progress_.due(done)) return;
  const double seconds = seconds_since(interval_.start);
  const double images = seconds > 0 ? static_cast<double>((done - interval_.first) * batch_) / seconds : 0;
  const std::string compute = flops_.per_image > 0 ? ", " + flops_.rate_text(images) : "";
  say("step {}/{}, loss {:.4f}, {:.0f} images/s{}, {} remaining{}{}", done, steps_, loss_of(line), images, compute,
      progress_.remaining(done), stall_text(interval_.data_stall, interval_.worked, "data"),
      stall_text(interval_.communication_stall, interval_.worked, "other ranks"));
  interval_ = {.first = done};
}

void TrainingRecord::sync() const {
  if (!metrics_) return;
  sync_path(directory_ / metrics_name);
  sync_path(curves_->path());
}

void TrainingRecord::event(const std::string& name, std::int64_t steps_done) const {
  if (metrics_) append_event(directory_, name, steps_done, 0, ranks_);
}

}  // namespace couplet
