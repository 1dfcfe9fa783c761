// What ranks read of the tables of a run, row by row.
#pragma once

#include "pipeline/config/config.h"
#include "stages/cost/stage_cost.h"
#include "stages/data/run_tables.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Rows of a table that ranks read.
struct TableReading {
  double rows = 0, block_rows = 1, shard_rows = 1, window_blocks = 1;
  double row_bytes = 0;              ///< of the large columns that are read
  double small_bytes = 0;            ///< of the small ones
  double columns = 1;                ///< that are read
  double checksums_of_a_block = 16;  ///< which a shard's opening reads, of all its columns

  double shards() const { return std::ceil(rows / shard_rows); }
  double opening_bytes() const {
    return 48 + checksums_of_a_block * std::ceil(std::min(shard_rows, rows) / block_rows);
  }
};

/// Rows of the data set as its shards hold them.
TableReading dataset_reading(const CostModel& model, double rows);
/// Rows of the prepared images, of which models may see latents.
TableReading image_reading(const CostModel& model, std::int64_t rows);
/// Rows of a coupling table, of which these columns are read, and labels.
TableReading table_reading(const RunTable& table, const std::vector<std::string>& read, const CostModel& model);
/// Rows of a student's coupling table; those of the data set in the order of one where it has none.
TableReading student_reading(const StudentConfig& student, const CostModel& model, std::int64_t ranks);

}  // namespace couplet
