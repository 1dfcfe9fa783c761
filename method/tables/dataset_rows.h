// A data set in the rows of a coupling table: the same images in the same order, without there being a table.
#pragma once

#include "method/tables/coupling_table.h"
#include "pipeline/loader/stored_rows.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// The columns `image` and `label`. Row r is the image and label of sample `numbering.at(r)`, mirrored left to right
/// where that says so: to the byte what a table of that numbering holds.
class DatasetRows : public StoredRows {
public:
  /// `images` stays open. `block_rows`: of the table, so that training visits both in one order.
  DatasetRows(const RowTable& images, const CouplingRows& numbering, std::int64_t block_rows);

  std::int64_t rows() const override { return numbering_.rows(); }
  std::int64_t block_rows() const override { return block_rows_; }
  const std::vector<Column>& columns() const override { return columns_; }
  std::size_t column(const std::string& name) const override;
  void gather(std::size_t column, std::span<const std::int64_t> numbers,
              std::span<std::byte* const> places) const override;

private:
  const RowTable& images_;
  CouplingRows numbering_;
  std::int64_t block_rows_;
  std::vector<std::size_t> stored_;  ///< the columns' indices in the data set
  std::vector<Column> columns_;
};

}  // namespace couplet
