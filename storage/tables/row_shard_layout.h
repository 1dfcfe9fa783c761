// What a row shard holds, and the names and numbers of its format that its reader and writer share. docs/row-shards.md
// specifies them.
#pragma once

#include "storage/formats/element_type.h"
#include "storage/json_text.h"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// One data set of a shard: `shape` is that of one row, so that the data set has shape [rows, shape...].
struct Column {
  std::string name;
  ElementType type = ElementType::float32;
  std::vector<std::int64_t> shape;
  std::string meaning;  ///< one phrase, stored as the data set's attribute "meaning" (unit included)

  std::size_t row_bytes() const;
  /// Of a row and its checksum.
  std::size_t stored_bytes() const { return row_bytes() + sizeof(std::uint64_t); }
  bool operator==(const Column&) const = default;
};

/// The newest format version that this program writes and reads. Version 2 added checksums of single rows.
inline constexpr int newest_shard_version = 2;

/// What a shard is, stored as attributes of its root group.
struct ShardHeader {
  std::string format;  ///< "couplet-dataset", "couplet-coupling" or "couplet-seeds"
  int format_version = newest_shard_version;
  std::int64_t first_row = 0;  ///< its first row, by the table's global numbers
  std::int64_t rows = 0;
  std::int64_t block_rows = 0;  ///< rows that a checksum covers
  nlohmann::json provenance;    ///< what the rows were made from; equal in all shards of a table
};

/// The bytes of a shard over those of its rows and their checksums, at most: it holds metadata besides.
inline constexpr double shard_overhead = 1.02;
inline constexpr const char* checksum_group = "checksums";
inline constexpr const char* row_checksum_group = "row_checksums";
/// The levels of objects and lists in provenance and summary, at most. A manifest holds both, one level deeper.
inline constexpr int deepest_attribute = deepest_json - 1;

inline bool has_row_checksums(const ShardHeader& header) {
  return header.format_version >= 2;
}

inline std::int64_t block_count(const ShardHeader& header) {
  return header.rows / header.block_rows + (header.rows % header.block_rows != 0);
}

inline std::size_t Column::row_bytes() const {
  std::size_t bytes = element_size(type);
  for (const std::int64_t extent : shape) bytes *= static_cast<std::size_t>(extent);
  return bytes;
}

}  // namespace couplet
