// What a shard or a table holds, as `couplet inspect` tells it.
#pragma once

#include "launch/inspect/row_source.h"

#include <nlohmann/json.hpp>

namespace couplet {

/// Facts of the header, figures over each column and, for couplings, over noise and images together. All rows are read
/// once, columns with one float32 a row three times.
nlohmann::ordered_json describe_rows(const RowSource& source);
/// The same for people, on stdout.
void print_description(const nlohmann::ordered_json& description);

}  // namespace couplet
