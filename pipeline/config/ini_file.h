// INI files: Boost.Program_options parses them; we add the place to what is refused.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// A key with its text, and where it was given ("configs/fashion.ini:12", "command line") for messages.
struct Setting {
  std::string key, text, where;
};

/// The settings of an INI file that may hold `keys` ("section.key"). Unknown, repeated and malformed lines are refused
/// with file and line; `hint` says where the user finds all keys.
std::vector<Setting> read_ini(const std::filesystem::path& file, const std::vector<std::string>& keys,
                              const std::string& hint);

}  // namespace couplet
