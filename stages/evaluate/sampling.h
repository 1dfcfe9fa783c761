// Samples on request, from any trained model of a run (`couplet sample`).
#pragma once

#include "pipeline/config.h"
#include "pipeline/run_directory.h"
#include "stages/evaluate/solver.h"
#include "storage/picture.h"

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

struct SampleRequest {
  std::string model = "nf-0";  ///< "teacher", or a student: coupling-seed
  std::int64_t count = 100;
  std::vector<std::int64_t> labels;  ///< repeated in turn; empty: every class in turn
  Solver solver = Solver::euler;
  Grid grid = Grid::uniform;
  std::int64_t nfe = 4;
  double guidance = 1;     ///< students: 1 is none; teacher: 0 is none
  std::uint64_t seed = 0;  ///< of the noise; equal seeds give equal noise for all models
};

/// The samples as one picture, as many a row as there are classes. A model that is not trained yet, or unknown, is an
/// error that lists those there are.
Picture sample_picture(const RunDirectory& run, const Config& config, const SampleRequest& request, c10::Device device);

}  // namespace couplet
