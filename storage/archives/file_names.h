// Names of many files, kept close together: 100,000 of 40 letters take 5 MB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// Compares paths with '/' between their components, component by component, as bytes: "a/b" stands before "a-c". Where
/// images lie in folders by class, this is the order of torchvision's ImageFolder.
bool path_less(std::string_view a, std::string_view b);

/// A name as messages show it: UTF-8 without control characters, and not endless.
std::string shown_name(std::string_view name);

class FileNames {
public:
  void add(std::string_view name);
  std::int64_t count() const { return static_cast<std::int64_t>(starts_.size()) - 1; }
  /// The name at a place: in the order in which they were added, or after `sort`, that of `path_less`.
  std::string_view operator[](std::int64_t place) const;
  /// Sorts the names. Returns for each place which name it was: 0 for the one that was added first.
  std::vector<std::uint32_t> sort();

private:
  std::string letters_;
  std::vector<std::uint64_t> starts_{0};  ///< of each name in `letters_`, and the end of the last
};

}  // namespace couplet
