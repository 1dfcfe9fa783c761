#include "storage/formats/tensorboard.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>
#include <vector>

namespace couplet {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

// Field numbers of the protobuf messages.
enum EventField { wall_time = 1, step_number = 2, file_version = 3, summary = 5, session_log = 7 };
enum SessionLogField { session_status = 1 };
enum SummaryField { value = 1 };
enum ValueField { value_tag = 1, simple_value = 2, value_image = 4 };
enum ImageField { image_height = 1, image_width = 2, image_colorspace = 3, image_png = 4 };
constexpr std::uint64_t session_start = 1;

enum WireType { varint = 0, eight_bytes = 1, length_delimited = 2, four_bytes = 5 };

constexpr char key_of(int field, WireType type) {
  return static_cast<char>(field << 3 | type);  // one byte up to field 15
}

constexpr std::array<std::uint32_t, 256> crc_table() {
  constexpr std::uint32_t polynomial = 0x82f63b78;  // Castagnoli's, bits reversed
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    table[byte] = crc;
  }
  return table;
}

std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8U;
}

template <class Number>
std::string raw(Number number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

template <class Number>
Number read_raw(std::string_view bytes) {
  Number number;
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

/// A protobuf message being written.
class Message {
public:
  Message& add(int field, std::uint64_t number) {
    bytes_ += key_of(field, varint);
    add_varint(number);
    return *this;
  }
  Message& add(int field, double number) {
    bytes_ += key_of(field, eight_bytes) + raw(number);
    return *this;
  }
  Message& add(int field, float number) {
    bytes_ += key_of(field, four_bytes) + raw(number);
    return *this;
  }
  Message& add(int field, std::string_view text) {
    bytes_ += key_of(field, length_delimited);
    add_varint(text.size());
    bytes_ += text;
    return *this;
  }
  Message& add(int field, const Message& message) { return add(field, std::string_view(message.bytes_)); }
  const std::string& bytes() const { return bytes_; }

private:
  void add_varint(std::uint64_t number) {
    for (; number >= 0x80; number >>= 7) bytes_ += static_cast<char>(number | 0x80);
    bytes_ += static_cast<char>(number);
  }
  std::string bytes_;
};

/// Time and step come first in each of our events: read_event_record finds the step there.
Message event(double unix_time, std::int64_t step) {
  return Message().add(wall_time, unix_time).add(step_number, static_cast<std::uint64_t>(step));
}

std::string framed(const Message& event) {
  const std::string length = raw(static_cast<std::uint64_t>(event.bytes().size()));
  return length + raw(masked_crc(length)) + event.bytes() + raw(masked_crc(event.bytes()));
}

std::optional<std::int64_t> step_of(std::string_view event) {
  constexpr std::size_t time_bytes = 1 + sizeof(double);
  if (event.size() <= time_bytes || event[0] != key_of(wall_time, eight_bytes)) return std::nullopt;
  if (event[time_bytes] != key_of(step_number, varint)) return std::nullopt;
  std::uint64_t step = 0;
  int shift = 0;
  for (const char byte : event.substr(time_bytes + 1)) {
    step |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return static_cast<std::int64_t>(step);
    if ((shift += 7) >= 63) break;
  }
  return std::nullopt;
}

constexpr std::string_view event_prefix = "events.out.tfevents.", event_suffix = ".couplet";

/// The time in a file's name; 0 for another file.
std::int64_t time_in(const std::string& name) {
  if (!name.starts_with(event_prefix) || !name.ends_with(event_suffix) ||
      name.size() < event_prefix.size() + event_suffix.size())
    return 0;
  const char *begin = name.data() + event_prefix.size(), *end = name.data() + name.size() - event_suffix.size();
  std::int64_t time = 0;
  const auto parsed = std::from_chars(begin, end, time);
  return parsed.ptr == end && parsed.ec == std::errc() ? time : 0;
}

/// Times in the names of the directory's event files, ascending.
std::vector<std::int64_t> files_in(const std::filesystem::path& directory) {
  std::vector<std::int64_t> times;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (const std::int64_t time = time_in(entry.path().filename().string())) times.push_back(time);
  }
  std::ranges::sort(times);
  return times;
}

std::filesystem::path file_of(const std::filesystem::path& directory, std::int64_t time) {
  return directory / fmt::format("{}{:010}{}", event_prefix, time, event_suffix);
}

/// The records of steps below `first_step`: all of them stand before the others.
std::string kept(const std::filesystem::path& path, std::int64_t first_step,
                 const std::function<void(const std::string&)>& warn) {
  const std::string bytes = read_file(path);
  std::size_t end = 0;
  while (end < bytes.size()) {
    const auto record = read_event_record(std::string_view(bytes).substr(end));
    if (!record) warn(fmt::format("{}: no whole record at byte {}; the curves begin anew there", path.string(), end));
    if (!record || record->step >= first_step) break;
    end += record->bytes;
  }
  return bytes.substr(0, end);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto table = crc_table();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xff];
  return ~crc;
}

std::string event_header(double unix_time) {
  const Message start = Message().add(session_status, session_start);
  return framed(event(unix_time, 0).add(file_version, "brain.Event:2")) +
         framed(event(unix_time, 0).add(session_log, start));
}

std::string scalars_record(double unix_time, std::int64_t step, const std::map<std::string, double>& values) {
  Message all;
  for (const auto& [tag, number] : values) {
    all.add(value, Message().add(value_tag, tag).add(simple_value, static_cast<float>(number)));
  }
  return framed(event(unix_time, step).add(summary, all));
}

std::string picture_record(double unix_time, std::int64_t step, const std::string& tag, const Picture& picture) {
  const Message image = Message()
                            .add(image_height, static_cast<std::uint64_t>(picture.height))
                            .add(image_width, static_cast<std::uint64_t>(picture.width))
                            .add(image_colorspace, static_cast<std::uint64_t>(picture.channels))
                            .add(image_png, encode_png(picture));
  const Message all = Message().add(value, Message().add(value_tag, tag).add(value_image, image));
  return framed(event(unix_time, step).add(summary, all));
}

std::optional<EventRecord> read_event_record(std::string_view bytes) {
  constexpr std::size_t head = sizeof(std::uint64_t) + sizeof(std::uint32_t), tail = sizeof(std::uint32_t);
  if (bytes.size() < head + tail) return std::nullopt;
  if (read_raw<std::uint32_t>(bytes.substr(sizeof(std::uint64_t))) !=
      masked_crc(bytes.substr(0, sizeof(std::uint64_t))))
    return std::nullopt;
  const auto length = read_raw<std::uint64_t>(bytes);
  if (length > bytes.size() - head - tail) return std::nullopt;
  const std::string_view event = bytes.substr(head, length);
  if (read_raw<std::uint32_t>(bytes.substr(head + length)) != masked_crc(event)) return std::nullopt;
  const auto step = step_of(event);
  if (!step) return std::nullopt;
  return EventRecord{head + length + tail, *step};
}

EventFile::EventFile(const std::filesystem::path& directory, std::int64_t first_step,
                     const std::function<void(const std::string&)>& warn) {
  std::filesystem::create_directories(directory);
  remove_leftovers(directory);
  const std::vector<std::int64_t> earlier = files_in(directory);
  std::string bytes = earlier.empty() ? "" : kept(file_of(directory, earlier.back()), first_step, warn);
  if (bytes.empty()) bytes = event_header(unix_now());
  // Readers take the files of a directory in the order of their names.
  const std::int64_t after = earlier.empty() ? 0 : earlier.back() + 1;
  path_ = file_of(directory, std::max(after, static_cast<std::int64_t>(unix_now())));
  publish_file(path_, bytes);
  for (const std::int64_t time : earlier) std::filesystem::resize_file(file_of(directory, time), 0);
  const int descriptor = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) fail("{}: cannot be opened for writing: {}", path_.string(), errno_text(errno));
  file_ = FileHandle(path_, descriptor);
  size_ = bytes.size();
}

void EventFile::add(std::int64_t step, const std::map<std::string, double>& values) {
  append(scalars_record(unix_now(), step, values));
}

void EventFile::add(std::int64_t step, const std::string& tag, const Picture& picture) {
  append(picture_record(unix_now(), step, tag, picture));
}

void EventFile::append(const std::string& record) {
  file_.write_at(std::as_bytes(std::span(record)), size_);
  size_ += record.size();
}

}  // namespace couplet
