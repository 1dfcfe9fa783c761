// Rows of equal size that a process keeps as it makes them, so that the next process goes on where it was killed.
#pragma once

#include "storage/files/file_handle.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace couplet {

/// A file to which batches of rows are appended, each with its checksum, by one process at a time. After a kill at any
/// instant it holds the batches that were whole; opening cuts a torn one off. The byte order is the machine's own.
class RowJournal {
public:
  /// What happens to a file that holds other rows.
  enum class Others { replaced, refused };

  /// Opens or makes the file. `identity` says what the rows are and what they were made from.
  RowJournal(std::filesystem::path path, const std::string& identity, std::size_t row_bytes, Others others);

  std::int64_t rows() const { return rows_; }
  /// Appends whole rows as one batch.
  void append(std::span<const std::byte> rows);
  /// Reads rows [first, first + count) into `out`, which has exactly their size. Throws where they are not there.
  void read(std::int64_t first, std::int64_t count, std::span<std::byte> out) const;
  /// Removes the file. The object is not used afterwards.
  void remove();

private:
  struct Batch {
    std::int64_t first = 0;
    std::uint64_t offset = 0;  ///< of its rows in the file
  };

  void scan(std::uint64_t begin);

  std::filesystem::path path_;
  FileHandle file_;
  std::size_t row_bytes_;
  std::vector<Batch> batches_;
  std::int64_t rows_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace couplet
