// Rows of a shard or a table as a picture.
#pragma once

#include "launch/inspect/row_source.h"

#include "pipeline/run/run_directory.h"

#include <filesystem>
#include <optional>
#include <string>

namespace couplet {

/// Returns the run in which a path lies: RUN for RUN/coupling/NAME and what is under it; nothing for other paths.
std::optional<RunDirectory> run_of(const std::filesystem::path& path);

/// Draws rows, eight in a line, as image | noise | the image that the run's teacher makes of the noise as stored. Noise
/// is divided by sigma_f; black is -3, white 3. Without noise or teacher there are fewer panels, and the text that is
/// returned says why; else it is empty. A teacher that is not the one in the rows' provenance is refused, naming both.
std::string draw_rows(const RowSource& source, const RowSpan& rows, const std::optional<RunDirectory>& run,
                      const std::filesystem::path& path);

}  // namespace couplet
