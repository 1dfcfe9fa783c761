// Where a run's data set comes from, as its configuration says.
#pragma once

#include "method/data/image_source.h"
#include "method/data/low_resolution.h"
#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace couplet {

/// What students are given of an image besides its label: prepare.condition.
LowResolution low_resolution(const PrepareConfig& config);
/// Opens the source of prepare.format. Image files are all looked at first, by all threads: once, as what was found is
/// kept in the run's directory, if there is one, until the files change.
ImageSource open_source(const PrepareConfig& config, const RunDirectory& run);
/// The same on all ranks, which share that work. Collective.
ImageSource open_source(const PrepareConfig& config, const RunDirectory& run, Communicator& communicator);
/// The files whose bytes the data set is, whether they exist or not. None of a source that makes its images.
std::vector<SourceFile> source_files(const PrepareConfig& config);
/// True of a source that is read; false of one that makes its images.
bool lies_somewhere(const PrepareConfig& config);
/// The codec by which its rows are stored: prepare.codec, or that of a source which leaves no choice.
std::string stored_codec(const PrepareConfig& config);
/// What is known of the points of a source of points; nothing of images.
std::optional<PointDensity> point_density(const PrepareConfig& config);
/// True of a source of points.
bool has_points(const PrepareConfig& config);
/// The rows that are used of a split: the first `limit`, the value of the option `limit_key`; 0: all. A limit above
/// what there is is refused.
std::int64_t used_rows(const SourceImages& images, std::int64_t limit, const char* limit_key);
/// Refuses images that no run can use: of other sizes for training than for tests, not square, of values that
/// prepare.codec does not store, or without the low resolution that is asked for; and more rows than there are.
void require_images(const ImageSource& source, const PrepareConfig& config);
/// Refuses, before any work, a source of which a file is not there or which has images that no run can use. What `open`
/// of the source finds wrong is refused, too.
void require_source(const PrepareConfig& config, const RunDirectory& run);

}  // namespace couplet
