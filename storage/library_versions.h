// The versions of the libraries that files are read and written with.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// ("HDF5", "1.10.8"), ...: as they run, or as the program was built with those that do not tell.
std::vector<std::pair<std::string, std::string>> storage_library_versions();

}  // namespace couplet
