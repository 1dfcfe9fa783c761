#include "storage/archives/tar_header.h"

#include "storage/error.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace couplet {
namespace {

/// A field of a header block.
struct TarField {
  std::size_t first, length;
};

constexpr TarField name_field{0, 100}, size_field{124, 12}, checksum_field{148, 8}, type_field{156, 1},
    magic_field{257, 6}, prefix_field{345, 155};

std::string_view field_of(std::string_view block, TarField field) {
  return block.substr(field.first, field.length);
}

std::string text_of(std::string_view block, TarField field) {
  const std::string_view text = field_of(block, field);
  return std::string(text.substr(0, text.find('\0')));
}

/// Octal digits among spaces and zero bytes; or, where the highest bit is set, the number itself, the highest byte
/// first, as GNU tar writes sizes of 8 GiB and more.
std::optional<std::uint64_t> number_of(std::string_view block, TarField field) {
  std::string_view text = field_of(block, field);
  std::uint64_t number = 0;
  if (static_cast<unsigned char>(text.front()) == 0x80) {
    for (const char byte : text.substr(1)) {
      if (number > std::numeric_limits<std::uint64_t>::max() >> 8) return std::nullopt;
      number = number << 8 | static_cast<unsigned char>(byte);
    }
    return number;
  }
  while (text.starts_with(' ')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 8);
  if (error == std::errc::result_out_of_range) return std::nullopt;
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const bool padded = std::ranges::all_of(rest, [](char byte) { return byte == ' ' || byte == '\0'; });
  return padded ? std::optional(number) : std::nullopt;
}

/// Takes the first record off, as its key and value.
std::pair<std::string_view, std::string_view> take_record(std::string_view& records, const std::string& what) {
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
  const auto digits = static_cast<std::size_t>(end - records.data());
  if (error != std::errc() || length > records.size() || length < digits + 3 || records[digits] != ' ' ||
      records[length - 1] != '\n')
    fail("{}: has a pax record that is damaged", what);
  const std::string_view record = records.substr(digits + 1, length - digits - 2);
  records.remove_prefix(length);
  const std::size_t equals = record.find('=');
  if (equals == std::string_view::npos) fail("{}: has a pax record without '='", what);
  return {record.substr(0, equals), record.substr(equals + 1)};
}

}  // namespace

bool is_tar_header(std::string_view block) {
  if (block.size() < tar_block) return false;
  block = block.substr(0, tar_block);
  const auto said = number_of(block, checksum_field);
  if (!said || block.front() == '\0') return false;
  // The checksum's own bytes count as spaces. Some old programs took bytes as signed.
  std::int64_t plain = 0, with_sign = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= checksum_field.first && i < checksum_field.first + checksum_field.length;
    plain += own ? ' ' : static_cast<unsigned char>(block[i]);
    with_sign += own ? ' ' : static_cast<signed char>(block[i]);
  }
  return std::cmp_equal(*said, plain) || std::cmp_equal(*said, with_sign);
}

std::optional<TarHeader> read_tar_header(std::string_view block) {
  const auto size = number_of(block, size_field);
  if (!size) return std::nullopt;
  TarHeader header{text_of(block, name_field), *size, field_of(block, type_field).front()};
  // GNU tar's own headers ("ustar  ") have other fields in the prefix's place.
  const std::string_view magic = field_of(block, magic_field);
  if (magic == std::string_view("ustar\0", magic_field.length))
    if (const std::string prefix = text_of(block, prefix_field); !prefix.empty())
      header.name = prefix + "/" + header.name;
  if (header.type == '\0') header.type = header.name.ends_with('/') ? '5' : '0';
  return header;
}

std::optional<std::string> pax_value(std::string_view records, std::string_view key, const std::string& what) {
  std::optional<std::string> found;
  while (!records.empty())
    if (const auto [name, value] = take_record(records, what); name == key) found = std::string(value);
  return found;
}

bool has_pax_key(std::string_view records, std::string_view prefix, const std::string& what) {
  while (!records.empty())
    if (take_record(records, what).first.starts_with(prefix)) return true;
  return false;
}

}  // namespace couplet
