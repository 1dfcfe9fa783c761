// Rows that a RowStream reads by their numbers, wherever they lie.
#pragma once

#include "storage/tables/row_table.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace couplet {

class StoredRows {
public:
  virtual ~StoredRows() = default;

  virtual std::int64_t rows() const = 0;
  /// The number of rows that lie together. The order of training shuffles such blocks.
  virtual std::int64_t block_rows() const = 0;
  virtual const std::vector<Column>& columns() const = 0;
  /// Returns the index of a column. An unknown one is an error that names it.
  virtual std::size_t column(const std::string& name) const = 0;
  /// Reads the rows of these numbers, which ascend: row numbers[i] of a column into places[i].
  virtual void gather(std::size_t column, std::span<const std::int64_t> numbers,
                      std::span<std::byte* const> places) const = 0;
  /// Reads rows [first, first + count) of a column into `out`, one behind the other.
  virtual void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;
};

/// The rows of a table that stays open.
class TableRows : public StoredRows {
public:
  explicit TableRows(const RowTable& table) : table_(table) {}

  std::int64_t rows() const override { return table_.rows(); }
  std::int64_t block_rows() const override { return table_.block_rows(); }
  const std::vector<Column>& columns() const override { return table_.columns(); }
  std::size_t column(const std::string& name) const override { return table_.column(name); }
  void gather(std::size_t column, std::span<const std::int64_t> numbers,
              std::span<std::byte* const> places) const override {
    table_.gather(column, numbers, places);
  }
  void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const override {
    table_.read(column, first, count, out);
  }

private:
  const RowTable& table_;
};

}  // namespace couplet
