// INI files: Boost.Program_options parses them; we add the place to what is refused.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// A key with its text, and where it was given ("configs/fashion.ini:12", "command line") for messages.
struct Setting {
  std::string key, text, where;
};

/// The settings of an INI file in UTF-8, with or without a byte-order mark; an empty one has none. A # at the start of
/// a line or behind a space begins a comment; one within a value is refused, as are texts in UTF-16. `trouble` says why
/// a key ("section.key") cannot be one of the file's, "" if it can be. Such keys, repeated and malformed lines are
/// refused with file and line.
std::vector<Setting> read_ini(const std::filesystem::path& file,
                              const std::function<std::string(const std::string& key)>& trouble);

}  // namespace couplet
