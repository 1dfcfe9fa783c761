// The ways in which an evaluation samples a student.
#pragma once

#include "method/couplings/coupling.h"
#include "method/solvers/integration.h"
#include "pipeline/config/config.h"
#include "stages/results/field_setting.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// One way of sampling a student.
struct SamplingSetting {
  FieldSetting field;
  Integration integration;
  std::int64_t seed = 0;        ///< of fresh noise
  std::string table;            ///< from the held-out noise of this table instead
  std::int64_t candidates = 1;  ///< noises that a sample starts from one of; 1: its own
};

/// For each of the fields that are asked for (`field_settings`) every solver with every grid at every NFE that is asked
/// for, then times of the user's own, then dopri5. One step of Euler looks the same on every grid, and a first Heun
/// step is one, so it is made once; so is one step of a stochastic solver, which samples students with a score only,
/// at temperature 1. All of one sampling seed come before those of the next. A one-step student has one step of Euler,
/// whatever is asked for. Each number of candidates that is asked for has all of these in turn, where the student reads
/// a table of noise; above 1 at temperature 1, as whose noise they are chosen. Then, with a `table`: from its held-out
/// noise as it is, Euler on the first grid.
std::vector<SamplingSetting> sampling_settings(const EvaluateConfig& config, const StudentConfig& student,
                                               const std::string& table, bool has_noise = false);

}  // namespace couplet
