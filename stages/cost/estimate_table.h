// The estimate of a run as text: device hours of every stage under an assumed speed, and disk.
#pragma once

#include "stages/cost/stage_cost.h"

#include <cstdint>
#include <functional>
#include <string>

namespace couplet {

/// What the jobs of one kind of stage compute on.
struct StageDevices {
  bool gpus = false;       ///< else cores
  std::int64_t count = 1;  ///< GPUs or cores of the whole job
};

/// The assumed speed of one GPU or core.
struct DeviceSpeed {
  double bfloat16 = 0, float32 = 0;  ///< peak of matrix products, FLOP/s
  double utilisation = 0;            ///< share of the peak that the stages reach, over their whole time
};
/// Seconds of one device for this work.
double device_seconds(const Flops& flops, const DeviceSpeed& speed);

/// "1.42 GB"
std::string disk_text(double bytes);

/// The table that `submit --dry-run` prints, whole lines: a row a stage, then products by precision, disk and what is
/// assumed. `devices_of`: by kind of stage. Of a core the speed is one of a present server processor.
std::string estimate_text(const Estimate& estimate,
                          const std::function<StageDevices(const std::string& kind)>& devices_of,
                          const DeviceSpeed& gpu);

}  // namespace couplet
