// An HDF5 file of rows. It holds a few plain contiguous data sets ("columns") with the row on axis 0, a checksum for
// every block of rows, and attributes that say where the rows come from. Data-set shards and coupling shards are row
// shards. docs/row-shards.md specifies the format.
#pragma once

#include "storage/files/file_handle.h"
#include "storage/tables/row_shard_layout.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace couplet {

/// A shard open for reading. Every byte that `read` and `gather` return was checked against its row's or its block's
/// checksum, unless the shard was opened without checks.
class RowShard {
public:
  /// Opens the file and checks format, version and shapes. A newer format version and a truncated or foreign file are
  /// errors that say so.
  explicit RowShard(const std::filesystem::path& path, const std::string& expected_format, bool verify = true);
  ~RowShard();
  RowShard(RowShard&&) noexcept;
  RowShard& operator=(RowShard&&) noexcept;

  const std::filesystem::path& path() const;
  const ShardHeader& header() const;
  const nlohmann::json& summary() const;
  const std::vector<Column>& columns() const;
  /// Returns the index of a column. An unknown one is an error that names the file and its columns.
  std::size_t column(const std::string& name) const;

  /// Reads rows [first, first + count) of the shard (its own numbers) into `out`, which has exactly their size.
  /// A row or block whose checksum differs is an error that names file, column and rows. Reads the rows asked for and
  /// their checksums; of a block of a version-1 shard, which has none of rows, all. Safe to call from several threads.
  void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;

  /// The same for rows of these numbers, which ascend: row numbers[i] goes to places[i].
  void gather(std::size_t column, std::span<const std::int64_t> numbers, std::span<std::byte* const> places) const;

  /// The byte of the file at which a column's row 0 lies. The rows follow each other.
  std::uint64_t offset(std::size_t column) const;
  /// The stored checksum of each block of a column.
  std::span<const std::uint64_t> checksums(std::size_t column) const;
  /// Reads the stored checksum of each of these rows; nothing for a shard of version 1.
  std::vector<std::uint64_t> row_checksums(std::size_t column, std::int64_t first, std::int64_t count) const;
  /// The open file itself, for reading past rows and checks. It lives as long as the shard.
  const FileHandle& file() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Opens a shard that may be anybody's: a child process tries first (storage/formats/hdf5_rehearsal.h). No change that
/// befalls a shard of ours makes the HDF5 library crash, as checksums cover its metadata; one that was crafted may.
RowShard open_foreign_shard(const std::filesystem::path& path, const std::string& expected_format);

}  // namespace couplet
