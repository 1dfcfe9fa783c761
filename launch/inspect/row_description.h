// One row of a shard or a table.
#pragma once

#include "launch/inspect/row_source.h"

#include <nlohmann/json.hpp>

namespace couplet {

/// Numbers of the row, the value of each column with one value a row, figures of the others, and where in which file
/// each column's bytes lie. For noise ‖z‖²/d too, z = noise / sigma_f.
nlohmann::ordered_json describe_row(const RowSource& source, std::int64_t row);
/// The same for people, on stdout.
void print_row(const nlohmann::ordered_json& description);

}  // namespace couplet
