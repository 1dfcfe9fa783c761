#include "stages/cost/load_table.h"

#include "stages/cost/estimate_table.h"
#include "storage/text.h"

#include <fmt/format.h>

namespace couplet {

namespace {

/// "reading tables (12 %)": what costs most besides computing, where it costs a hundredth.
std::string saturation_text(const StagePoint& point) {
  const TimePart part = point.time.largest();
  if (point.load.kind == "report" || point.time.parts.empty() || part.seconds < 0.01 * point.time.all()) return "";
  return fmt::format("{} ({:.0f} %)", part.what, 100 * part.seconds / point.time.all());
}

bool trains(const StageLoad& load) {
  return !load.layout.bucket_bytes.empty();
}

/// Training divides its batch, and its gradient groups: it is refused on other numbers of ranks.
bool is_refused(const StageLoad& load) {
  return trains(load) && (load.units % load.ranks != 0 || load.slices % load.ranks != 0);
}

std::string refusal_text(const StageLoad& load) {
  if (load.ranks > load.units) return fmt::format("the batch: refused, as it has {} images only", load.units);
  if (load.units % load.ranks != 0)
    return fmt::format("the batch: refused, as {} images do not divide by {}", load.units, load.ranks);
  return fmt::format("pipeline.slices: refused, as {} gradient groups do not divide by {}", load.slices, load.ranks);
}

/// On GPUs, and not refused.
bool has_time(const StagePoint& point) {
  return !is_refused(point.load) && point.time.all() > 0;
}

std::string count_of(double value) {
  return value < 1e6 ? fmt::format("{:.0f}", value) : fmt::format("{:.1f} M", value / 1e6);
}

std::string machine_line(const Machine& machine) {
  return fmt::format("machine: {}\n", machine_text(machine));
}

}  // namespace

std::string load_text(const std::vector<StagePoint>& stages, const Machine& machine) {
  constexpr auto row = "{:<26} {:>5} {:>10} {:>11} {:>11} {:>9} {:>9} {:>8} {:>8} {:>5}  {}\n";
  std::string text = fmt::format(row, "stage", "ranks", "state/rank", "collectives", "sent/rank", "read", "written",
                                 "opens", "lasts", "used", "saturates first");
  for (const StagePoint& point : stages) {
    const StageLoad& load = point.load;
    const auto bytes = [](double value) { return value > 0 ? disk_text(value) : ""; };
    const auto if_known = [&](const std::string& figure) { return load.knows_reading ? figure : "–"; };
    text += fmt::format(row, load.stage, load.ranks, bytes(load.state_bytes),
                        load.calls() > 0 ? count_of(load.calls()) : "", bytes(load.network_bytes()),
                        if_known(bytes(load.bytes_read)), bytes(load.bytes_written), if_known(count_of(load.opens)),
                        has_time(point) ? duration_text(point.time.all()) : "",
                        has_time(point) ? fmt::format("{:.0f} %", 100 * point.time.efficiency()) : "",
                        is_refused(load) ? refusal_text(load) : saturation_text(point));
  }
  return text + machine_line(machine);
}

std::string scaling_text(const std::vector<StagePoint>& points, const Machine& machine) {
  constexpr auto row = "{:<26} {:>6} {:>9} {:>5}  {}\n";
  std::string text = fmt::format(row, "stage", "ranks", "lasts", "used", "saturates first");
  for (const StagePoint& point : points)
    text += is_refused(point.load)
                ? fmt::format(row, point.load.stage, point.load.ranks, "", "", refusal_text(point.load))
                : fmt::format(row, point.load.stage, point.load.ranks, duration_text(point.time.all()),
                              fmt::format("{:.0f} %", 100 * point.time.efficiency()), saturation_text(point));
  return text + machine_line(machine);
}

nlohmann::json points_json(const std::vector<StagePoint>& points) {
  nlohmann::json all = nlohmann::json::array();
  for (const auto& [load, time] : points) {
    nlohmann::json collectives = nlohmann::json::object(), parts = nlohmann::json::object();
    for (const auto& [operation, of_one] : load.collectives)
      collectives[operation] = {{"calls", of_one.calls}, {"bytes", of_one.bytes}};
    for (const TimePart& part : time.parts) parts[part.what] = part.seconds;
    const bool is_timed = !time.parts.empty();  // on GPUs
    const auto figure = [](bool is_known, double value) { return is_known ? nlohmann::json(value) : nlohmann::json(); };
    all.push_back({{"stage", load.stage},
                   {"kind", load.kind},
                   {"ranks", load.ranks},
                   {"refused", is_refused(load)},
                   {"unit", load.unit},
                   {"units", load.units},
                   {"flops", load.flops.all()},
                   {"collectives", collectives},
                   {"sent", load.network_bytes()},
                   {"bytes_read", figure(load.knows_reading, load.bytes_read)},
                   {"bytes_written", load.bytes_written},
                   {"opens", figure(load.knows_reading, load.opens)},
                   {"looks", load.looks},
                   {"state_bytes", load.state_bytes},
                   {"checkpoint_bytes", load.checkpoint_bytes},
                   {"seconds", figure(is_timed, time.all())},
                   {"computing", figure(is_timed, time.computing)},
                   {"efficiency", figure(is_timed, time.efficiency())},
                   {"parts", parts}});
  }
  return all;
}

StageLoad grown(const StageLoad& load, const Machine& machine) {
  StageLoad larger = load;
  if (!trains(load)) return larger;
  const double factor = static_cast<double>(load.ranks) / machine.gpus;
  larger.units = static_cast<std::int64_t>(static_cast<double>(load.units) * factor);
  larger.flops = {load.flops.bfloat16 * factor, load.flops.float32 * factor};
  const double reread = load.checkpoints * load.checkpoint_bytes;  // whatever the batch
  larger.bytes_read = reread + factor * (load.bytes_read - reread);
  return larger;
}

}  // namespace couplet
