// How large a run's data set is, as far as that is known before its prepare stage.
#pragma once

#include "method/data/dataset.h"
#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <optional>

namespace couplet {

/// What models see of it.
struct DatasetSize {
  std::int64_t train_rows = 0, test_rows = 0;
  DatasetShape shape;                ///< without class_counts
  std::int64_t training_images = 0;  ///< as many as train_rows, but for latents of mirror images
};

/// From the source files, of which only headers and labels are read. An error names the file that is missing or wrong;
/// images that no run can use are refused, and a program of latents that does not fit them, or those that are its rows.
DatasetSize source_size(const Config& config, const RunDirectory& run);
/// Of the images themselves, where a stage makes latents of them: from the source files.
DatasetSize source_images(const Config& config, const RunDirectory& run);
/// The same from the prepared tables; nothing where they are not there.
std::optional<DatasetSize> prepared_images(const RunDirectory& run);
/// From the run's tables, or else from the source files.
DatasetSize dataset_size(const Config& config, const RunDirectory& run);

}  // namespace couplet
