// One HDF5 file of rows: a few plain contiguous data sets ("columns") with the row on axis 0, a checksum for every
// block of rows, attributes that say where the rows come from. Data-set shards and coupling shards are both row shards.
// The format is specified in docs/row-shards.md.
#pragma once

#include "storage/element_type.h"
#include "storage/file_handle.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
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
  bool operator==(const Column&) const = default;
};

/// What a shard is, stored as attributes of its root group.
struct ShardHeader {
  std::string format;  ///< "couplet-dataset" or "couplet-coupling"
  int format_version = 1;
  std::int64_t first_row = 0;  ///< of the table's global row numbers
  std::int64_t rows = 0;
  std::int64_t block_rows = 0;  ///< rows a checksum covers
  nlohmann::json provenance;    ///< what the rows were made from; equal in all shards of a table
};

/// Writes a shard under `path` (a temporary name: publish it with Pending). Equal rows give equal bytes: no times
/// stored.
class RowShardWriter {
public:
  RowShardWriter(const std::filesystem::path& path, ShardHeader header, std::vector<Column> columns);
  ~RowShardWriter();
  /// Rows [first, first + rows) of the shard (counted from its own start), whole rows of column `column`.
  /// Each column's rows are written in order, without holes.
  void write(std::size_t column, std::int64_t first, std::span<const std::byte> bytes);
  /// Stores the checksums and `summary` (per-shard sums and counts; attribute "summary", JSON) and closes the file.
  /// Fails if a row of any column was not written.
  void finish(const nlohmann::json& summary);

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A shard open for reading. Every byte that `read` and `scatter` return was checked against its block's checksum,
/// unless the shard was opened not to.
class RowShard {
public:
  /// Opens and checks format, version, shapes. A newer format version, a truncated or foreign file is an error that
  /// says so.
  explicit RowShard(const std::filesystem::path& path, const std::string& expected_format, bool verify = true);
  ~RowShard();
  RowShard(RowShard&&) noexcept;
  RowShard& operator=(RowShard&&) noexcept;

  const std::filesystem::path& path() const;
  const ShardHeader& header() const;
  const nlohmann::json& summary() const;
  const std::vector<Column>& columns() const;
  /// Index of a column; an error names the file and the columns there are.
  std::size_t column(const std::string& name) const;

  /// Reads rows [first, first + count) of the shard (its own numbers) into `out`, which has exactly their size.
  /// A block whose checksum differs is an error that names file, column and rows. Reads whole blocks; calls that cover
  /// whole blocks copy nothing besides. Safe to call from several threads.
  void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;

  /// The same, each row to a place of its own: row first + i to rows[i].
  void scatter(std::size_t column, std::int64_t first, std::span<std::byte* const> rows) const;

  /// Byte of the file at which a column's row 0 lies; the rows follow each other.
  std::uint64_t offset(std::size_t column) const;
  /// The stored checksum of each block of a column.
  std::span<const std::uint64_t> checksums(std::size_t column) const;
  /// The open file itself, for reading past rows and checks. Lives as long as the shard.
  const FileHandle& file() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace couplet
