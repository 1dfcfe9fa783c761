// The short name of the standard library's file system.
#pragma once

#include <filesystem>

namespace couplet {

namespace fs = std::filesystem;

}  // namespace couplet
