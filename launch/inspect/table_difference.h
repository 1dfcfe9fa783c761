// Two tables held against each other, row by row.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

struct ColumnDifference {
  std::string name;
  bool exact = true;      ///< whole numbers, which admit no tolerance
  std::int64_t rows = 0;  ///< rows that differ at all
  double largest = 0;     ///< largest difference of two values; infinite where only one of them is finite
};

/// Collective: the ranks share the rows. Refuses tables of other formats, rows, columns or shapes; shards may be cut
/// differently, and floating types may differ.
std::vector<ColumnDifference> compare_tables(const std::filesystem::path& ours, const std::filesystem::path& theirs,
                                             Communicator& communicator);

}  // namespace couplet
