// The ways in which an evaluation samples a student.
#pragma once

#include "method/couplings/coupling.h"
#include "method/sampling/guided_field.h"
#include "method/solvers/integration.h"
#include "pipeline/config/config.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// The weights of a student, and how its field is made of them.
struct FieldSetting {
  double ema = 0;  ///< rate of the averaged weights; 0: raw
  Guidance guidance;
};

/// One way of sampling a student.
struct SamplingSetting {
  FieldSetting field;
  Integration integration;
  std::int64_t seed = 0;  ///< of fresh noise
  std::string table;      ///< from the held-out noise of this table instead

  /// As part of a picture's name: "euler-uniform-nfe-04", with guidance and an average other than the student's first
  /// named behind it. `first_ema`: the rate of that.
  std::string file_name(double first_ema) const;
};

/// Every way to make a student's field that the configuration asks for: each EMA rate with each guidance scale.
std::vector<FieldSetting> field_settings(const EvaluateConfig& config, const StudentConfig& student);

/// For each of these fields every solver with every grid at every NFE that is asked for, then times of the user's own,
/// then dopri5. One step of Euler looks the same on every grid, and a first Heun step is one, so it is made once. All
/// of one sampling seed come before those of the next. Then, with a `table`: from its held-out noise, Euler on the
/// first grid.
std::vector<SamplingSetting> sampling_settings(const EvaluateConfig& config, const StudentConfig& student,
                                               const std::string& table);

}  // namespace couplet
