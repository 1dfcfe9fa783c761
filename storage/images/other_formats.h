// Files that stand where images are expected, by their first bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace couplet {

/// "a GIF file", where the first bytes are those of a format that is known by name but not read as an image; else "".
std::string other_format(std::span<const std::byte> start);

}  // namespace couplet
