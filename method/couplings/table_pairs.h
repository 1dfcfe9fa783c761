// Some pairs of a finished coupling table, of either of its formats.
#pragma once

#include "method/couplings/coupling.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace couplet {

/// The pairs of evenly spread rows (RowSample) of a table, as many as a coupling is judged by: of a table of noise and
/// images (couplet-coupling) noise / σ_f beside its image; of a table of seeds (couplet-seeds) the noise that the ids
/// stand for beside the data set's images, mirrored where the table says so. `images`: the data set that the table is
/// of. A table of another format, or one that misses a column, is an error that names it.
Pairs sample_table_pairs(const std::filesystem::path& table, const RowTable& images);

}  // namespace couplet
