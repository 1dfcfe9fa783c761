// The ends of text files that may be large: logs, metrics.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// The whole lines within the last `bytes` of a file, without their line breaks and without empty ones; a last line
/// that is still being written counts as one. None if the file cannot be read.
std::vector<std::string> last_lines(const std::filesystem::path& path, std::size_t bytes = 1 << 16);
/// The first line; "" if there is none.
std::string first_line(const std::filesystem::path& path);

}  // namespace couplet
