#include "stages/stage_heartbeats.h"

#include "pipeline/liveness/heartbeats.h"
#include "pipeline/run/stage_record.h"
#include "storage/clock.h"
#include "storage/files/text_tail.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>

namespace couplet {

namespace {

/// True if `name` is `stem`, or `stem` with numbers behind it.
bool is_numbered(const std::string& name, const std::string& stem) {
  if (!name.starts_with(stem)) return false;
  return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(stem.size()), name.end(),
                     [](unsigned char letter) { return letter == '-' || std::isdigit(letter) != 0; });
}

/// True if a failure that is kept under this name is one of this stage. The name of a kind stands for several stages.
bool is_of(const RankFailure& failure, const std::string& name, const StageNode& node) {
  if (failure.stage.empty()) return is_name_of(name, node);
  return failure.stage == node.name || is_name_of(failure.stage, node);
}

}  // namespace

bool is_name_of(const std::string& name, const StageNode& node) {
  const std::string flat = flat_name(node.name);
  return node.table.empty() ? name == flat : is_numbered(name, flat);
}

bool is_heartbeat_name_of(const std::string& name, const StageNode& node) {
  return is_name_of(name, node) || (node.table.empty() ? name == node.kind : is_numbered(name, node.kind));
}

std::optional<RankFailure> last_failure(const RunDirectory& run, const StageNode& node) {
  std::optional<RankFailure> last;
  double newest = changed_at(record_path(run.stage(node.name)));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run.heartbeats(), error)) {
    const std::string name = entry.path().stem().string();
    if (!is_heartbeat_name_of(name, node) || entry.path() != failure_path(run.heartbeats(), name)) continue;
    const double changed = changed_at(entry.path());
    const auto failure = read_failure(entry.path());
    if (!failure || changed < newest || !is_of(*failure, name, node)) continue;
    last = failure;
    newest = changed;
  }
  return last;
}

double noted_rate(const RunDirectory& run, const StageNode& node) {
  const double now = unix_now(), silent = HeartbeatLimits{}.silent;
  const auto jobs = HeartbeatFiles::read_all(run.heartbeats(),
                                             [&](const std::string& name) { return is_heartbeat_name_of(name, node); });
  double rate = 0;
  for (const auto& [name, ranks] : jobs) {
    double of_job = 0;  // each rank notes what all ranks make
    for (const Heartbeat& record : ranks)
      if (record.activity.state != Activity::State::ended && now - record.time < silent)
        of_job = std::max(of_job, record.activity.rate);
    rate += of_job;
  }
  return rate;
}

}  // namespace couplet
