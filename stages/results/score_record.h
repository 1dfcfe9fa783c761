// The records of results.json. docs/metrics.md names models, metrics and fields.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// One score. Fields that do not apply to it are empty, 0 or -1.
struct ScoreRecord {
  std::string run;       ///< of several that are shown together; empty where there is one
  std::string model;     ///< "teacher", "student", "real"
  std::string coupling;  ///< of a student
  std::string solver, grid;
  std::string metric;
  std::string noise;  ///< a student's starting points: "fresh" draws or "table" (inverted held-out images); fresh where
                      ///< not recorded
  std::string split;  ///< "train" or "test": rows of pairing metrics, images of the real split
  std::string network, network_hash, resize;
  std::int64_t seed = 0;           ///< of training
  std::int64_t sampling_seed = 0;  ///< of the noise that samples start from
  std::int64_t nfe = 0;
  std::int64_t samples = 0;
  std::int64_t bad_samples = 0;  ///< of `samples`
  double guidance = 1;
  double guidance_from = 0, guidance_to = 1;
  double atol = 0, rtol = 0;  ///< of an adaptive solver
  bool denoised = false;      ///< teacher: with its final denoising step
  double value = 0;
  double uncertainty = 0;  ///< the record's own: a standard error, or the standard deviation over subsets or splits; 0:
                           ///< none
  std::string trace;       ///< of a student's likelihood: how the divergence was found
  std::vector<double> times, deviation;  ///< of `curvature`: along the paths

  /// The solver takes as many evaluations as its tolerances ask for: the NFE is no part of the setting.
  bool adaptive() const { return atol > 0 || rtol > 0; }
};

/// The records of a results.json object, those without a finite value too (as NaN). A value that has another type than
/// its field is an error that names record and field.
std::vector<ScoreRecord> read_records(const nlohmann::json& results, const std::string& run = "");

}  // namespace couplet
