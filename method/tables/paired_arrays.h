// Which arrays of a source of others are noise, images and labels: by the names that are in use
// (docs/coupling-table.md).
#pragma once

#include "storage/formats/foreign_array.h"

#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The arrays of a source, a row each on axis 0.
struct PairedArrays {
  std::unique_ptr<ForeignArray> noise, image;
  std::unique_ptr<ForeignArray> label;  ///< none where the source has no labels
  std::vector<std::string> notes;       ///< what was put together or passed over, a line each
};

/// Tells whether noise or images stand at the top level, and not in groups or folders alone.
bool has_pairs_on_top(const ForeignFile& file);

/// Finds noise and image (and perhaps label) of the same group or folder of `file`, which outlives them. Where several
/// groups have them, their rows follow each other in the order of natural_less; arrays of one axis fewer are then one
/// row each. `source` names the file in messages. An array that is missing, two that may be meant by one name, and
/// groups that differ in type or shape are refused, saying what was found.
PairedArrays open_paired_arrays(const std::string& source, ForeignFile& file);

}  // namespace couplet
