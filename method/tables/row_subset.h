// Some blocks of a table as rows of their own.
#pragma once

#include "pipeline/loader/stored_rows.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The rows of the blocks of these numbers, which ascend, one block behind the other. Only the last block of the table
/// may be shorter than the others.
class RowSubset : public StoredRows {
public:
  RowSubset(std::shared_ptr<const StoredRows> all, std::vector<std::int64_t> blocks);

  std::int64_t rows() const override { return rows_; }
  std::int64_t block_rows() const override { return all_->block_rows(); }
  const std::vector<Column>& columns() const override { return all_->columns(); }
  std::size_t column(const std::string& name) const override { return all_->column(name); }
  void gather(std::size_t column, std::span<const std::int64_t> numbers,
              std::span<std::byte* const> places) const override;

  /// The number that a row has among all.
  std::int64_t number(std::int64_t row) const;

private:
  std::shared_ptr<const StoredRows> all_;
  std::vector<std::int64_t> blocks_;
  std::int64_t rows_ = 0;
};

/// How many of so many blocks are held out: a twentieth, one at least.
std::int64_t held_out_blocks(std::int64_t blocks);
/// Which blocks of some rows, two or more, train, and which are held out. Both ascend. Drawn by the seed.
struct BlockSplit {
  std::vector<std::int64_t> trained, held_out;
};
BlockSplit split_blocks(const StoredRows& rows, std::uint64_t seed);
/// That of a table on whose rows a model is trained. One of a single block is refused.
BlockSplit hold_back_blocks(const RowTable& table, std::uint64_t seed);

}  // namespace couplet
