// Arrays of files and folders that hold several files of arrays, as one.
#pragma once

#include "storage/formats/foreign_array.h"

#include <filesystem>
#include <memory>
#include <vector>

namespace couplet {

/// Opens arrays, whatever holds them:
///  - an .npz file: its arrays;
///  - an HDF5 file: the data sets of all groups, by their paths ("train/images");
///  - an .npy file: one array, named as the file is without its extension;
///  - a folder: the arrays of its .npy files, and those of its .npz and HDF5 files (.npz, .h5, .hdf5), with the file's
///    name without its extension in front: "train/images" of train.npz.
/// A folder's other files are left aside, its folders too. Refuses a folder without files of arrays, two of which would
/// give their arrays the same name, and files that are none of these.
std::unique_ptr<ForeignFile> open_arrays(const std::filesystem::path& path);
/// The files that it reads, in the order of their names; none of a path where there is nothing.
std::vector<std::filesystem::path> array_files(const std::filesystem::path& path);

}  // namespace couplet
