// The student of a run: its sizes from the configuration, its weights from the run directory.
#pragma once

#include "method/data/dataset.h"
#include "method/models/sit.h"
#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <c10/core/Device.h>

#include <string>

namespace couplet {

SiTOptions student_options(const StudentConfig& config, const DatasetShape& shape);
/// The key of all draws of a student: of the run's seed and the student's. Equal for all couplings compared.
std::uint64_t student_seed(std::int64_t run_seed, std::int64_t student_seed);

/// A published student with its EMA weights, in evaluation mode on `device`.
SiT load_student(const RunDirectory& run, const StudentConfig& config, const std::string& coupling, std::int64_t seed,
                 const DatasetShape& shape, c10::Device device);

}  // namespace couplet
