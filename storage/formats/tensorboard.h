// A TensorBoard event file that goes on after a resume: every step stands in it once.
#pragma once

#include "storage/files/file_handle.h"
#include "storage/formats/picture.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace couplet {

/// The last one of the files events.out.tfevents.<Unix time of opening>.couplet in a directory, with the curves and
/// pictures of a training run; the others are empty. Steps never descend. `tensorboard --logdir` on the directory or
/// any above it shows it, also while it grows and through resumes.
class EventFile {
public:
  /// Begins a new file with what the last one holds of steps below `first_step`, then empties that one. (A reader that
  /// follows it could not go on from the middle of a record if it were cut, nor find the next file if it were removed.)
  /// A record that a kill tore, and what stands behind it, is left out; `warn` is told, a line.
  EventFile(
      const std::filesystem::path& directory, std::int64_t first_step,
      const std::function<void(const std::string&)>& warn = [](const std::string&) {});

  const std::filesystem::path& path() const { return path_; }
  /// Values by tag.
  void add(std::int64_t step, const std::map<std::string, double>& values);
  void add(std::int64_t step, const std::string& tag, const Picture& picture);

private:
  void append(const std::string& record);

  std::filesystem::path path_;
  FileHandle file_;
  std::uint64_t size_ = 0;
};

}  // namespace couplet
