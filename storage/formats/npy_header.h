// The dictionary in front of an .npy array's values, a Python literal
// (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// What an .npy header says.
struct NpyHeader {
  std::string descriptor;  ///< of the elements: "<f4"
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;
};

/// Parses "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }": these three keys, each once, in any order.
/// Returns nothing for any other text, and for a descriptor that is no string, as arrays of records have it.
std::optional<NpyHeader> parse_npy_header(std::string_view text);

}  // namespace couplet
