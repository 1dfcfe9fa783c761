// How large a run's data set is, as far as that is known before its prepare stage.
#pragma once

#include "method/data/dataset.h"
#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>

namespace couplet {

struct DatasetSize {
  std::int64_t train_rows = 0, test_rows = 0;
  DatasetShape shape;  ///< without class_counts
};

/// From the source files, of which only headers and labels are read. An error names the file that is missing or wrong;
/// images that no run can use are refused.
DatasetSize source_size(const Config& config, const RunDirectory& run);
/// From the run's prepared tables, or else from the source files.
DatasetSize dataset_size(const Config& config, const RunDirectory& run);

}  // namespace couplet
