// Two tables compared with each other, row by row.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

struct ColumnDifference {
  std::string name;
  bool exact = true;      ///< the column holds whole numbers, which admit no tolerance
  std::int64_t rows = 0;  ///< how many rows differ at all
  double largest = 0;     ///< the largest difference of two values; infinite where only one of them is finite
};

/// Compares two tables; the ranks share the rows. Refuses tables of different formats, rows, columns or shapes; their
/// shards may be cut differently, and their floating types may differ. Collective.
std::vector<ColumnDifference> compare_tables(const std::filesystem::path& ours, const std::filesystem::path& theirs,
                                             Communicator& communicator);

}  // namespace couplet
