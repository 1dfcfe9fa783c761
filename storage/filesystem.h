// The short name of the standard library's file system, and what it says of paths that users give.
#pragma once

#include <filesystem>
#include <string>

namespace couplet {

namespace fs = std::filesystem;

/// Whether something lies there. A path that the system cannot look up (too long a name, a folder that may not be
/// entered) is refused with its reason.
bool is_there(const fs::path& path);
/// What the library's exception means, for people: the path and the reason.
std::string words_of(const fs::filesystem_error& error);

}  // namespace couplet
