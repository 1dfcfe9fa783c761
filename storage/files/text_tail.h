// The ends of text files that may be large and grow, such as logs and metrics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Returns the whole lines within the last `bytes` of a file, without line breaks and without empty lines. A last line
/// that is still being written counts as one. There are none if the file cannot be read.
std::vector<std::string> last_lines(const std::filesystem::path& path, std::size_t bytes = 1 << 16);
/// Returns the first line; "" if there is none.
std::string first_line(const std::filesystem::path& path);

/// Returns the Unix time of a file's last change; 0 if there is no such file.
double changed_at(const std::filesystem::path& path);

/// A text file to which others append, read as it grows.
class GrowingFile {
public:
  /// Reading begins with the first whole line within the last `bytes`.
  explicit GrowingFile(std::filesystem::path path, std::size_t bytes = 1 << 20);

  const std::filesystem::path& path() const { return path_; }
  /// Returns the lines that were finished since the last call. A file that has become shorter is read from its start.
  std::vector<std::string> new_lines();
  /// Returns what stands behind the last line break, as a line; "" if nothing does.
  std::string unfinished_line();

private:
  std::filesystem::path path_;
  std::uintmax_t read_ = 0;
  bool skips_ = false;  ///< it has to skip the rest of a line that began before the place where reading began
  std::string unfinished_;
};

}  // namespace couplet
