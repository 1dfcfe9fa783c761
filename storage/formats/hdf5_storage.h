// Whether the values of an HDF5 data set are there. Where they are not, the library reads fill values without a word.
#pragma once

#include <H5Cpp.h>

#include <filesystem>
#include <string>

namespace couplet {

/// Refuses a data set of `file` that cannot be read whole: values that were never written, sources of a virtual data
/// set or files of raw values that are missing or too short, filters that the library lacks. The message begins with
/// `what` and says what is missing. Called under the lock (Hdf5Lock).
void require_stored(const std::filesystem::path& file, const std::string& what, const H5::DataSet& set);

}  // namespace couplet
