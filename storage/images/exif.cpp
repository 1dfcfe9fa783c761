#include "storage/images/exif.h"

#include <cstdint>

namespace couplet {
namespace {

constexpr std::uint32_t orientation_tag = 0x0112;
constexpr std::size_t tag_bytes = 12;  ///< of an entry: tag, type, count, value

/// Reads numbers of the byte order that the data name; beyond their end there are zeros.
class ExifNumbers {
public:
  explicit ExifNumbers(std::span<const std::byte> bytes)
      : bytes_(bytes), big_endian_(!bytes.empty() && bytes[0] == std::byte{'M'}) {}

  std::uint32_t number(std::size_t offset, std::size_t size) const {
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = offset + (big_endian_ ? i : size - 1 - i);
      number = number << 8 | (at < bytes_.size() ? std::to_integer<std::uint32_t>(bytes_[at]) : 0);
    }
    return number;
  }

private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

}  // namespace

bool exif_turns(std::span<const std::byte> exif) {
  const ExifNumbers numbers(exif);
  if (numbers.number(2, 2) != 42) return false;
  const std::size_t directory = numbers.number(4, 4);
  const std::size_t tags = numbers.number(directory, 2);
  for (std::size_t i = 0; i < tags; ++i) {
    const std::size_t tag = directory + 2 + i * tag_bytes;
    if (tag + tag_bytes > exif.size()) return false;
    if (numbers.number(tag, 2) != orientation_tag) continue;
    const std::uint32_t orientation = numbers.number(tag + 8, 2);  // 1 is upright; there are 8
    return orientation >= 2 && orientation <= 8;
  }
  return false;
}

}  // namespace couplet
