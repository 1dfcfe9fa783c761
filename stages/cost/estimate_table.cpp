#include "stages/cost/estimate_table.h"

#include "pipeline/tensor/flops.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <iterator>

namespace couplet {

namespace {

constexpr DeviceSpeed server_core{50e9, 50e9, 0.3};

/// "21 core s", "3.2 GPU h"
std::string device_time_text(double seconds, bool gpus) {
  const char* const device = gpus ? "GPU" : "core";
  const double hours = seconds / 3600;
  if (hours < 0.1) return fmt::format("{:.0f} {} s", seconds, device);
  return fmt::format("{:.{}f} {} h", hours, hours < 10 ? 1 : 0, device);
}

/// "466,286,784": exact, to be set beside published figures.
std::string count_text(std::int64_t count) {
  std::string text = fmt::format("{}", count);
  for (std::ptrdiff_t place = std::ssize(text) - 3; place > 0; place -= 3)
    text.insert(static_cast<std::size_t>(place), ",");
  return text;
}

std::string speed_text(const DeviceSpeed& speed, const char* device) {
  return fmt::format("{:.0f} % of {}/s (bfloat16) or {}/s (float32) {}", 100 * speed.utilisation,
                     flops_text(speed.bfloat16), flops_text(speed.float32), device);
}

std::string disk_line(const DiskEstimate& disk) {
  return fmt::format(
      "disk: {} in all: data set {}, coupling table {}, weights {}, checkpoints {} (until couplet clean)\n",
      disk_text(disk.all()), disk_text(disk.dataset), disk_text(disk.coupling), disk_text(disk.weights),
      disk_text(disk.checkpoints));
}

}  // namespace

double device_seconds(const Flops& flops, const DeviceSpeed& speed) {
  return (flops.bfloat16 / speed.bfloat16 + flops.float32 / speed.float32) / speed.utilisation;
}

std::string disk_text(double bytes) {
  constexpr std::array units{"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  for (; bytes >= 999.5 && unit + 1 < units.size(); ++unit) bytes /= 1000;
  return fmt::format("{:.{}f} {}", bytes, bytes < 9.95 && unit > 0 ? 1 : 0, units[unit]);
}

std::string estimate_text(const Estimate& estimate,
                          const std::function<StageDevices(const std::string& kind)>& devices_of,
                          const DeviceSpeed& gpu) {
  constexpr auto row = "{:<26} {:>22} {:>13} {:>12} {:>14} {:>10} {:>8}  {}\n";
  const DeviceSpeed speeds[] = {server_core, gpu};
  std::string text = fmt::format(row, "stage", "work", "parameters", "products", "device time", "lasts", "disk", "on");
  double seconds[] = {0, 0};
  bool used[] = {false, false};
  Flops flops;
  for (const StageCost& stage : estimate.stages) {
    const std::string parameters = stage.parameters > 0 ? count_text(stage.parameters) : "";
    const std::string disk = stage.disk.all() > 0 ? disk_text(stage.disk.all()) : "";
    if (stage.flops.all() == 0) {
      text += fmt::format(row, stage.stage, stage.work, parameters, "", "", "", disk, "");
      continue;
    }
    const StageDevices devices = devices_of(stage.kind);
    const double needed = device_seconds(stage.flops, speeds[devices.gpus]);
    flops = flops + stage.flops;
    seconds[devices.gpus] += needed;
    used[devices.gpus] = true;
    text += fmt::format(
        row, stage.stage, stage.work, parameters, flops_text(stage.flops.all()), device_time_text(needed, devices.gpus),
        duration_text(needed / static_cast<double>(devices.count)), disk,
        fmt::format("{} {}{}", devices.count, devices.gpus ? "GPU" : "core", devices.count == 1 ? "" : "s"));
  }
  for (const bool gpus : {true, false})
    if (used[gpus])
      text += fmt::format(row, "all", "", "", gpus == used[1] ? flops_text(flops.all()) : "",
                          device_time_text(seconds[gpus], gpus), "", "", "");
  text +=
      fmt::format("products: {} in bfloat16, {} in float32\n", flops_text(flops.bfloat16), flops_text(flops.float32));
  text += disk_line(estimate.disk);
  for (const bool gpus : {true, false})
    if (used[gpus]) text += fmt::format("assumed: {}\n", speed_text(speeds[gpus], gpus ? "a GPU" : "a core"));
  text +=
      "A rough figure: reading, waiting in the queue and small models take longer, sampling the teacher token by token "
      "too.\n";
  return text;
}

}  // namespace couplet
