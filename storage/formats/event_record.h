// Records of a TensorBoard event file, as bytes. The file is a sequence of TFRecords
// (tensorflow/core/lib/io/record_writer.h):
//   uint64 length | uint32 masked CRC-32C of the length | length bytes of data | uint32 masked CRC-32C of the data
// in little-endian order, the mask being rotate_right(crc, 15) + 0xa282ead8; each holds an Event
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto) in protobuf's wire format.
#pragma once

#include "storage/formats/picture.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace couplet {

/// CRC-32C (Castagnoli).
std::uint32_t crc32c(std::string_view bytes);

/// What a file begins with: the version record, and one that tells a reader to forget what it has read of the same run
/// from other files.
std::string event_header(double unix_time);
/// Values by tag at a step.
std::string scalars_record(double unix_time, std::int64_t step, const std::map<std::string, double>& values);
/// A picture at a step, stored as PNG.
std::string picture_record(double unix_time, std::int64_t step, const std::string& tag, const Picture& picture);

/// The record at the beginning of `bytes`.
struct EventRecord {
  std::size_t bytes = 0;  ///< it takes, frame and all
  std::int64_t step = 0;
};
/// Nothing where it is torn, damaged, or not written by the functions above.
std::optional<EventRecord> read_event_record(std::string_view bytes);

}  // namespace couplet
