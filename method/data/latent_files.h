// Latents that were made elsewhere as files: one .npy file a row, as EDM2's and REPA's dataset_tool.py encode writes
// them.
#pragma once

#include "method/data/image_source.h"

namespace couplet {

/// Opens the .npy files of a folder or an archive, which is read in place: each an array of floats [2 C, h, w], the
/// means and the standard deviations of one row's C channels. Splits, labels and order are those of image files
/// (docs/image-files.md). All files are looked at first, by `files.pass`. Refused are: a set without .npy files; other
/// arrays; rows of several shapes; values that are not finite in float16, and deviations below 0, unless
/// `files.skip_broken` leaves such rows out. All of them are named.
ImageSource open_latent_files(const SourceOptions& options);

}  // namespace couplet
