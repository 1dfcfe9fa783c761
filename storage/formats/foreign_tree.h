// Arrays that lie at any depth of folders, archives and groups: pairs of others come as one file a row, too.
#pragma once

#include "storage/formats/foreign_array.h"

#include <filesystem>
#include <memory>
#include <vector>

namespace couplet {

/// The files at or below `path` that may hold arrays: .npy, .npz, .zip, .h5, .hdf5, in the order that people count in
/// (storage/text.h, natural_less). Of a file the file itself; of X.npy also X_noise.npy and X_label.npy beside it, as
/// far as they are there. Names that begin with a dot are passed over, links to folders are not followed.
std::vector<std::filesystem::path> files_with_arrays(const std::filesystem::path& path);

/// All arrays of these files as those of one: a folder's under their paths within the folder, an archive's and an HDF5
/// file's under theirs within the file, "7/source", which the path of the file precedes where there is a folder:
/// "shard_0001.hdf5/7/source", "a/1.npz/noise". Paths of .npy files lack this ending. They are in no order. Two of the
/// files are open at a time, besides those whose arrays are being read. A file that does not exist is refused.
std::unique_ptr<ForeignFile> open_foreign_tree(const std::filesystem::path& path);

}  // namespace couplet
