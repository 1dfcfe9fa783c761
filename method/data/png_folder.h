// Images that lie as PNG files in a folder.
#pragma once

#include "method/data/image_set.h"

#include <filesystem>
#include <memory>

namespace couplet {

/// Opens the PNG files of a folder and of the folders in it, in the order of their paths. They are of one size and
/// either grey or colour. Names that begin with a dot are hidden, files and folders: they are left out. Symbolic links
/// are followed. These are refused by name: a folder without PNG files; any other file, pipe or device; a link that
/// leads nowhere; and a folder that is reached twice, as by a link to a folder around it, since its images would count
/// twice. A file or folder that cannot be read is an error.
std::unique_ptr<ImageSet> open_png_folder(const std::filesystem::path& directory);

}  // namespace couplet
