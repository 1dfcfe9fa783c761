// What a shard or a table holds, as `couplet inspect` shows it.
#pragma once

#include "launch/inspect/row_source.h"

#include <nlohmann/json.hpp>

namespace couplet {

/// Describes a shard or table: facts of the header, figures over each column and, for couplings, over noise and images
/// together. All rows are read once, columns with one float32 a row three times. `judged`: couplings are judged too, by
/// some of their pairs, and their noise beside N(0, I), which takes a few seconds, of a large table half a minute.
nlohmann::ordered_json describe_rows(const RowSource& source, bool judged);
/// Prints the same on stdout, for people.
void print_description(const nlohmann::ordered_json& description);

}  // namespace couplet
