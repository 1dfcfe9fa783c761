// How far the noise of a coupling table is from N(0, I), as `couplet inspect` shows it.
#pragma once

#include "launch/inspect/row_source.h"

#include <nlohmann/json.hpp>

namespace couplet {

/// The figures of docs/metrics.md over the training rows and, where both are there, the held-out ones: of a table
/// called `train` or `test` also those of the other split beside it. As many rows of each as an evaluation takes unless
/// told otherwise. Null of what is no table of noise with labels.
nlohmann::ordered_json describe_noise(const RowSource& source);
/// Prints the same on stdout, for people.
void print_noise_gap(const nlohmann::ordered_json& gap);

}  // namespace couplet
