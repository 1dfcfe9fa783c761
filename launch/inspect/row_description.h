// One row of a shard or a table.
#pragma once

#include "launch/inspect/row_source.h"

#include <nlohmann/json.hpp>

namespace couplet {

/// Describes a row: its numbers, the value of each column with one value a row, figures of the other columns, and where
/// in which file each column's bytes lie; of noise also ‖z‖²/d, where z = noise / sigma_f.
nlohmann::ordered_json describe_row(const RowSource& source, std::int64_t row);
/// Prints the same on stdout, for people.
void print_row(const nlohmann::ordered_json& description);

}  // namespace couplet
