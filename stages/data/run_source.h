// Where a run's data set comes from, as its configuration says.
#pragma once

#include "method/data/image_source.h"
#include "pipeline/config/config.h"

#include <vector>

namespace couplet {

SourceOptions source_options(const PrepareConfig& config);
/// Opens the source of prepare.format.
ImageSource open_source(const PrepareConfig& config);
/// The files whose bytes the data set is, whether they exist or not. None of a source that makes its images.
std::vector<SourceFile> source_files(const PrepareConfig& config);
/// Refuses, before any work, a source of which a file is not there.
void require_source(const PrepareConfig& config);

}  // namespace couplet
