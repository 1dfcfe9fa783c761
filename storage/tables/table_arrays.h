// The columns of a table, as the arrays of a file that was made elsewhere are read.
#pragma once

#include "storage/formats/foreign_array.h"

#include <filesystem>
#include <memory>
#include <string>

namespace couplet {

std::unique_ptr<ForeignFile> open_table_arrays(const std::filesystem::path& directory, const std::string& format);

}  // namespace couplet
