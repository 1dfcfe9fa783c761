#include "storage/parquet/parquet_page.h"

#include "storage/error.h"
#include "storage/deflate.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace couplet {
namespace {

constexpr std::uint64_t most_page_bytes = std::uint64_t{1} << 30;
constexpr std::int64_t most_page_values = std::int64_t{1} << 24;  // runs hold any number of them in a few bytes
enum PageEncoding : std::int64_t { plain_values = 0, plain_dictionary = 2, dictionary_runs = 8 };

[[noreturn]] void damaged_page(const std::string& what, const char* found) {
  fail("{}: is damaged: {}", what, found);
}

std::vector<std::byte> unpack_gzip(const std::string& what, std::span<const std::byte> packed, std::uint64_t size) {
  std::vector<std::byte> out(static_cast<std::size_t>(size));
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 32) != Z_OK) fail("{}: no memory to unpack a page", what);
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool is_whole = status == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!is_whole) damaged_page(what, "a page that does not unpack");
  return out;
}

/// What so many packed bytes hold at most.
std::uint64_t most_unpacked(ParquetPacking packing, std::uint64_t packed) {
  if (packing == ParquetPacking::none) return packed;
  if (packing == ParquetPacking::gzip) return most_inflated_bytes(packed);
  return 22 * packed;  // Snappy copies up to 64 bytes by 3
}

std::vector<std::byte> unpack_page(const std::string& what, ParquetPacking packing, std::vector<std::byte> packed,
                                   std::uint64_t size) {
  if (packing != ParquetPacking::none && packing != ParquetPacking::snappy && packing != ParquetPacking::gzip)
    refuse("{}: is packed by method {}, which is not read; write it with snappy, gzip or none", what,
           static_cast<std::int64_t>(packing));
  if (size > most_page_bytes || size > most_unpacked(packing, packed.size()))
    fail("{}: is damaged: a page claims {} bytes, which its {} cannot hold", what, size, packed.size());
  if (packing == ParquetPacking::snappy) return unpack_snappy(what, packed, size);
  if (packing == ParquetPacking::gzip) return unpack_gzip(what, packed, size);
  if (packed.size() != size) damaged_page(what, "a page of two sizes");
  return packed;
}

/// Small numbers of `width` bits in runs: of one number repeated, or of groups of eight packed numbers.
std::vector<std::uint32_t> read_runs(const std::string& what, std::span<const std::byte> bytes, unsigned width,
                                     std::size_t count) {
  std::vector<std::uint32_t> numbers;
  numbers.reserve(count);
  std::size_t at = 0;
  const auto next = [&] {
    if (at == bytes.size()) damaged_page(what, "numbers that are cut short");
    return std::to_integer<std::uint32_t>(bytes[at++]);
  };
  while (numbers.size() < count) {
    std::uint64_t header = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (shift > 28) damaged_page(what, "a run without end");
      const std::uint32_t byte = next();
      header |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) break;
    }
    if ((header & 1) == 0) {
      std::uint32_t number = 0;
      for (unsigned i = 0; i < (width + 7) / 8; ++i) number |= next() << (8 * i);
      if (header == 0) damaged_page(what, "an empty run");
      numbers.insert(numbers.end(), std::min<std::uint64_t>(header >> 1, count - numbers.size()), number);
      continue;
    }
    std::uint64_t held = 0;
    unsigned bits = 0;
    for (std::uint64_t left = 8 * (header >> 1); left > 0 && numbers.size() < count; --left) {
      for (; bits < width; bits += 8) held |= static_cast<std::uint64_t>(next()) << bits;
      numbers.push_back(static_cast<std::uint32_t>(held & ((std::uint64_t{1} << width) - 1)));
      held >>= width;
      bits -= width;
    }
    if (header == 1) damaged_page(what, "an empty run");
  }
  return numbers;
}

}  // namespace

class PageDecoder {
public:
  PageDecoder(const std::string& what, const ParquetColumn& column, const ParquetPage& page,
              const ParquetValues* dictionary)
      : what_(what), column_(column), page_(page), dictionary_(dictionary) {}

  /// Of the page's bytes, of which `levels` say which rows have a value; where they are empty, all have.
  ParquetValues decode(std::vector<std::byte> bytes, std::size_t values_at, std::vector<std::uint32_t> levels) {
    ParquetValues values;
    values.bytes_ = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    const auto rows = static_cast<std::size_t>(page_.values);
    const auto present =
        levels.empty()
            ? rows
            : static_cast<std::size_t>(std::ranges::count(levels, static_cast<std::uint32_t>(column_.optional_levels)));
    const std::span<const std::byte> rest = std::span<const std::byte>(*values.bytes_).subspan(values_at);
    std::vector<std::pair<std::size_t, std::size_t>> places;
    if (page_.encoding == plain_values) {
      places = plain_places(rest, values_at, present);
    } else if (page_.encoding == dictionary_runs || page_.encoding == plain_dictionary) {
      places = dictionary_places(rest, present);
      values.bytes_ = dictionary_->bytes_;
    } else {
      refuse(
          "{}: has values of encoding {}, which is not read; write plain values or dictionaries (of pyarrow, "
          "version = \"1.0\")",
          what_, page_.encoding);
    }
    if (levels.empty()) {
      values.places_ = std::move(places);
      return values;
    }
    std::size_t next = 0;
    for (const std::uint32_t level : levels)
      values.places_.push_back(level == static_cast<std::uint32_t>(column_.optional_levels)
                                   ? places[next++]
                                   : std::pair{ParquetValues::missing, std::size_t{0}});
    return values;
  }

private:
  using Places = std::vector<std::pair<std::size_t, std::size_t>>;

  Places plain_places(std::span<const std::byte> bytes, std::size_t offset, std::size_t count) const {
    Places places;
    std::size_t at = 0;
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t size = column_.type == ParquetType::int32 ? 4 : 8;
      if (column_.type == ParquetType::byte_array) {
        std::uint32_t length = 0;
        if (bytes.size() - at < sizeof length) damaged_page(what_, "values that are cut short");
        std::memcpy(&length, bytes.data() + at, sizeof length);
        at += sizeof length;
        size = length;
      }
      if (bytes.size() - at < size) damaged_page(what_, "values that are cut short");
      places.emplace_back(offset + at, size);
      at += size;
    }
    return places;
  }

  Places dictionary_places(std::span<const std::byte> bytes, std::size_t count) const {
    if (dictionary_ == nullptr) damaged_page(what_, "a page of a dictionary that is not there");
    Places places;
    if (count == 0) return places;
    const unsigned width = bytes.empty() ? 33 : std::to_integer<unsigned>(bytes.front());
    if (width > 32) damaged_page(what_, "numbers of an impossible width");
    for (const std::uint32_t number : read_runs(what_, bytes.subspan(1), width, count)) {
      if (number >= dictionary_->places_.size()) damaged_page(what_, "a number beyond the dictionary");
      places.push_back(dictionary_->places_[number]);
    }
    return places;
  }

  const std::string& what_;
  const ParquetColumn& column_;
  const ParquetPage& page_;
  const ParquetValues* dictionary_;
};

ParquetValues read_parquet_values(const std::string& what, const FileHandle& file, const ParquetColumn& column,
                                  ParquetPacking packing, const ParquetPage& page, std::uint64_t offset,
                                  const ParquetValues* dictionary) {
  if (page.packed_bytes > most_page_bytes || page.values > most_page_values)
    fail("{}: has a page of {} values in {} bytes; pages of at most {} values in {} bytes are read", what, page.values,
         page.packed_bytes, most_page_values, most_page_bytes);
  std::vector<std::byte> stored(static_cast<std::size_t>(page.packed_bytes));
  file.read_at(stored, offset + page.header_bytes);
  const bool is_data = page.kind != ParquetPage::Kind::dictionary;
  const auto width = static_cast<unsigned>(std::bit_width(static_cast<std::uint64_t>(column.optional_levels)));
  const auto rows = static_cast<std::size_t>(page.values);
  std::vector<std::uint32_t> levels;
  std::size_t values_at = 0;
  std::vector<std::byte> bytes;
  if (page.kind == ParquetPage::Kind::data_v2) {
    // Levels stand before the packed values, which are unpacked alone.
    const std::uint64_t before = page.definition_bytes + page.repetition_bytes;
    if (page.definition_bytes > stored.size() || before > stored.size() || before > page.bytes)
      damaged_page(what, "levels beyond the page");
    if (width > 0)
      levels = read_runs(what,
                         std::span<const std::byte>(stored).subspan(static_cast<std::size_t>(page.repetition_bytes),
                                                                    static_cast<std::size_t>(page.definition_bytes)),
                         width, rows);
    bytes = unpack_page(what, page.is_packed ? packing : ParquetPacking::none,
                        {stored.begin() + static_cast<std::ptrdiff_t>(before), stored.end()}, page.bytes - before);
  } else {
    bytes = unpack_page(what, packing, std::move(stored), page.bytes);
    if (is_data && width > 0) {
      std::uint32_t length = 0;
      if (bytes.size() < sizeof length) damaged_page(what, "levels that are cut short");
      std::memcpy(&length, bytes.data(), sizeof length);
      if (length > bytes.size() - sizeof length) damaged_page(what, "levels that are cut short");
      levels = read_runs(what, std::span<const std::byte>(bytes).subspan(sizeof length, length), width, rows);
      values_at = sizeof length + length;
    }
  }
  ParquetPage meaning = page;
  if (!is_data) meaning.encoding = plain_values;  // whatever older writers call it
  return PageDecoder(what, column, meaning, is_data ? dictionary : nullptr)
      .decode(std::move(bytes), values_at, std::move(levels));
}

std::vector<std::byte> unpack_snappy(const std::string& what, std::span<const std::byte> packed, std::uint64_t size) {
  std::size_t at = 0;
  const auto next = [&] {
    if (at == packed.size()) damaged_page(what, "packed bytes that are cut short");
    return std::to_integer<std::uint64_t>(packed[at++]);
  };
  const auto number = [&](unsigned bytes) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < bytes; ++i) value |= next() << (8 * i);
    return value;
  };
  std::uint64_t length = 0;
  for (unsigned shift = 0;; shift += 7) {
    if (shift > 28) damaged_page(what, "packed bytes without a length");
    const std::uint64_t byte = next();
    length |= (byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) break;
  }
  if (length != size) damaged_page(what, "a page of two sizes");
  std::vector<std::byte> out;
  out.reserve(static_cast<std::size_t>(size));
  while (at < packed.size()) {
    const std::uint64_t tag = next();
    std::uint64_t count = (tag >> 2) + 1, back = 0;
    switch (tag & 3) {
      case 0:
        if (count > 60) count = number(static_cast<unsigned>(count - 60)) + 1;
        if (count > packed.size() - at || count > size - out.size()) damaged_page(what, "packed bytes beyond the page");
        out.insert(out.end(), packed.begin() + static_cast<std::ptrdiff_t>(at),
                   packed.begin() + static_cast<std::ptrdiff_t>(at + count));
        at += static_cast<std::size_t>(count);
        continue;
      case 1:
        count = 4 + ((tag >> 2) & 7);
        back = (tag >> 5 << 8) | next();
        break;
      case 2:
        back = number(2);
        break;
      default:
        back = number(4);
    }
    if (back == 0 || back > out.size() || count > size - out.size()) damaged_page(what, "a copy from beyond the page");
    // What is copied may be what this copy writes.
    for (std::size_t from = out.size() - static_cast<std::size_t>(back); count > 0; --count) out.push_back(out[from++]);
  }
  if (out.size() != size) damaged_page(what, "a page that ends early");
  return out;
}

}  // namespace couplet
