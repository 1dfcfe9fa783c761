// The values of a page of a Parquet file (Encodings.md and Compression.md of github.com/apache/parquet-format).
#pragma once

#include "storage/parquet/parquet_metadata.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// The values of a page, row by row: bytes of a column of byte arrays, or the 4 or 8 of an integer.
class ParquetValues {
public:
  std::int64_t rows() const { return static_cast<std::int64_t>(places_.size()); }
  bool is_missing(std::int64_t row) const { return places_[static_cast<std::size_t>(row)].first == missing; }
  /// Of a row that is not missing.
  std::span<const std::byte> value(std::int64_t row) const {
    const auto& [first, bytes] = places_[static_cast<std::size_t>(row)];
    return std::span<const std::byte>(*bytes_).subspan(first, bytes);
  }

private:
  friend class PageDecoder;
  static constexpr std::size_t missing = static_cast<std::size_t>(-1);

  std::shared_ptr<const std::vector<std::byte>> bytes_;
  std::vector<std::pair<std::size_t, std::size_t>> places_;  ///< first byte and number of bytes
};

/// Decodes a page that stands at `offset`. `dictionary` holds the values of the chunk's dictionary page, where it has
/// one. Errors that begin with `what`: damaged bytes, claims that the page cannot hold, and packings and encodings
/// other than none, snappy and gzip, and plain values and dictionaries.
ParquetValues read_parquet_values(const std::string& what, const FileHandle& file, const ParquetColumn& column,
                                  ParquetPacking packing, const ParquetPage& page, std::uint64_t offset,
                                  const ParquetValues* dictionary);

/// Unpacks bytes of Snappy's format (format_description.txt of github.com/google/snappy) that hold `size`; other bytes
/// are an error that begins with `what`.
std::vector<std::byte> unpack_snappy(const std::string& what, std::span<const std::byte> packed, std::uint64_t size);

}  // namespace couplet
