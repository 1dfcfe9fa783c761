// Latents that were made elsewhere as arrays of all rows, in .npz, .npy and HDF5 files.
#pragma once

#include "method/data/image_source.h"

#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Tells, from the names of arrays, whether they are latents: `moments`, or `mean` and `std`, of all rows or of those
/// of `train`.
bool are_latents(const std::vector<std::string>& arrays);
/// Tells whether there are arrays at a path rather than a file a row: a file of arrays, or a folder with one that is
/// called so.
bool are_latent_arrays(const std::filesystem::path& path);

/// Opens the arrays `mean` and `std`, floats [N, C, h, w], or `moments`, [N, 2 C, h, w], which latent diffusion calls
/// so: means, then log-variances, clamped to [-30, 20]. Beside them may be `label` or `labels`, [N]. Where they are
/// called train/mean and so on, or lie in train.npz, held-out rows may be test/mean (val, validation); else a share is
/// held out. Refused are: means without `std`, or it alone; other types and shapes. Values that are not finite in
/// float16, and deviations below 0, are errors that name the row.
ImageSource open_latent_arrays(const SourceOptions& options);

}  // namespace couplet
