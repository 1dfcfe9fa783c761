// How numbers and names are written for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// "1h 02m", "3m 10s", "42 s".
std::string duration_text(double seconds);
/// "1.3 MiB"
std::string bytes_text(std::int64_t bytes);
/// Three significant digits without an exponent where one is not needed: "15.8", "0.0386".
std::string number_text(double value);

/// Number of single-character edits between two names.
std::int64_t edit_distance(const std::string& from, const std::string& to);
/// Of `candidates`, the one at the smallest edit distance.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace couplet
