// TensorBoard's event files: their records as bytes, and a file that goes on after a resume and holds every step once.
// The file is a sequence of TFRecords (tensorflow/core/lib/io/record_writer.h):
//   uint64 length | uint32 masked CRC-32C of the length | length bytes of data | uint32 masked CRC-32C of the data
// in little-endian order, the mask being rotate_right(crc, 15) + 0xa282ead8; each holds an Event
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto) in protobuf's wire format.
#pragma once

#include "storage/files/file_handle.h"
#include "storage/formats/picture.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace couplet {

/// The CRC-32C (Castagnoli) of the bytes.
std::uint32_t crc32c(std::string_view bytes);

/// What a file begins with: the version record, and one on which a reader forgets what it has read of the same run from
/// other files.
std::string event_header(double unix_time);
/// The record of values, by tag, at a step.
std::string scalars_record(double unix_time, std::int64_t step, const std::map<std::string, double>& values);
/// The record of a picture at a step, stored as PNG.
std::string picture_record(double unix_time, std::int64_t step, const std::string& tag, const Picture& picture);

/// The record at the beginning of `bytes`.
struct EventRecord {
  std::size_t bytes = 0;  ///< bytes that it takes, frame and all
  std::int64_t step = 0;
};
/// Reads it. Returns nothing where it is torn, damaged, or not written by the functions above.
std::optional<EventRecord> read_event_record(std::string_view bytes);

/// The last one of the files events.out.tfevents.<Unix time of opening>.couplet in a directory. It holds the curves and
/// pictures of a training run, whose steps never descend; the other files are empty. `tensorboard --logdir` on the
/// directory or any above it shows it, also while it grows and through resumes.
class EventFile {
public:
  /// Begins a new file with what the last one holds of steps below `first_step`, then empties that one. (A reader that
  /// follows it could not go on from the middle of a record if it were cut, nor find the next file if it were removed.)
  /// A record that a kill tore, and what stands behind it, is left out, and `warn` is called with a line about it.
  EventFile(
      const std::filesystem::path& directory, std::int64_t first_step,
      const std::function<void(const std::string&)>& warn = [](const std::string&) {});

  const std::filesystem::path& path() const { return path_; }
  /// Adds values by tag.
  void add(std::int64_t step, const std::map<std::string, double>& values);
  void add(std::int64_t step, const std::string& tag, const Picture& picture);

private:
  void append(const std::string& record);

  std::filesystem::path path_;
  FileHandle file_;
  std::uint64_t size_ = 0;
};

}  // namespace couplet
