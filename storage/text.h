// How numbers and names are written for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// "1h 02m", "3m 10s", "42 s".
std::string duration_text(double seconds);
/// "1.3 MiB"
std::string bytes_text(std::int64_t bytes);
/// "15.8", "0.0386": three significant digits, without an exponent where none is needed.
std::string number_text(double value);

/// Ascending numbers, each run of them as its ends: "3, 7-9".
std::string ranges_text(const std::vector<std::int64_t>& ascending);
/// The multiples of `unit` on both sides of `value`, for messages: "88 or 92".
std::string nearest_multiples(std::int64_t value, std::int64_t unit);

/// One word for the shell, taken as it is: 'moved to'.
std::string quoted(const std::string& text);
/// The text as UTF-8, which JSON must be: each byte that is part of no character is written as \xFC. A path may hold
/// any bytes.
std::string utf8_text(const std::string& text);

/// Compares names in the order that people count in: runs of digits by the number that they are, so that "9" comes
/// before "10". Names that differ in leading zeros only are compared as texts.
bool natural_less(std::string_view a, std::string_view b);

/// The number of single-character edits between two names; where one has more than 256 characters, which no name of
/// ours has, the number of its characters: files of others may hold names of any length.
std::int64_t edit_distance(const std::string& from, const std::string& to);
/// The one of `candidates` at the smallest edit distance.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace couplet
