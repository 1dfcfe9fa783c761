// How an evaluation makes a student's field, and what it calls the pictures of its samples.
#pragma once

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
  double temperature = 1;  ///< factor of the noise that samples start from
};

/// Every way to make a student's field that the configuration asks for: each EMA rate with each guidance scale at each
/// temperature; at 1 alone of a student that starts from no noise.
std::vector<FieldSetting> field_settings(const EvaluateConfig& config, const StudentConfig& student);

/// What is not as usual, behind a comma each: ", guidance 2, temperature 0.95, EMA 0.9999"; "" where nothing is.
/// Weights are named that are not the student's first average.
std::string field_text(const FieldSetting& field, const StudentConfig& student);

/// The file of a sheet of samples: "nf-0-fresh-euler-uniform-nfe-04.png", with guidance, temperature, an average other
/// than the student's first and more candidates than one named behind it. `model`: "nf-0"; `noise`: "fresh" or "table".
std::string sheet_name(const std::string& model, const std::string& noise, const Integration& integration,
                       const FieldSetting& field, const StudentConfig& student, std::int64_t candidates = 1);

}  // namespace couplet
