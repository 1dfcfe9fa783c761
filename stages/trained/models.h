// The teacher of a run: its sizes from the configuration, its weights from the run directory.
#pragma once

#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/models/tarflow.h"
#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <c10/core/Device.h>

namespace couplet {

TarFlowOptions teacher_options(const TeacherConfig& config, const DatasetShape& shape);
ImageNoise teacher_noise(const TeacherConfig& config);

/// The published teacher with its EMA weights, in evaluation mode on `device`.
TarFlow load_teacher(const RunDirectory& run, const TeacherConfig& config, const DatasetShape& shape,
                     c10::Device device);

}  // namespace couplet
