// A table of seeds with the images that it names.
#pragma once

#include "method/tables/dataset_rows.h"
#include "method/tables/seeds_table.h"
#include "pipeline/loader/stored_rows.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// The columns `image`, of the data set, and `label` and `noise_id`, of the table, whose rows these are. Images are
/// read in the order in which they lie, each once for all rows of it that are read together.
class SeedsRows : public StoredRows {
public:
  /// Both stay open. Refuses a table of another data set, naming both hashes.
  SeedsRows(const RowTable& seeds, const RowTable& images);

  std::int64_t rows() const override { return seeds_.rows(); }
  std::int64_t block_rows() const override { return seeds_.block_rows(); }
  const std::vector<Column>& columns() const override { return columns_; }
  std::size_t column(const std::string& name) const override;
  void gather(std::size_t column, std::span<const std::int64_t> numbers,
              std::span<std::byte* const> places) const override;

private:
  const RowTable& seeds_;
  DatasetRows images_;
  std::vector<Column> columns_;
};

}  // namespace couplet
