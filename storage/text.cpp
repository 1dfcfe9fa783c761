#include "storage/text.h"

#include "storage/error.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

namespace couplet {

namespace {

/// The bytes of the UTF-8 character that the text begins with; 0 if it begins with none. The bounds of the second byte
/// leave out what fewer bytes could say, halves of UTF-16's pairs, and what is beyond U+10FFFF.
std::size_t bytes_of_character(std::string_view text) {
  const auto is_within = [&](std::size_t place, unsigned from, unsigned to) {
    return place < text.size() && static_cast<unsigned char>(text[place]) >= from &&
           static_cast<unsigned char>(text[place]) <= to;
  };
  const auto continues = [&](std::size_t place) { return is_within(place, 0x80, 0xBF); };
  if (is_within(0, 0x00, 0x7F)) return 1;
  if (is_within(0, 0xC2, 0xDF)) return continues(1) ? 2 : 0;
  const unsigned char first = text.empty() ? 0 : static_cast<unsigned char>(text[0]);
  if (is_within(0, 0xE0, 0xEF))
    return is_within(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF) && continues(2) ? 3 : 0;
  if (is_within(0, 0xF0, 0xF4))
    return is_within(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF) && continues(2) && continues(3) ? 4
                                                                                                                  : 0;
  return 0;
}

}  // namespace

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "unknown";
  const auto whole = static_cast<std::int64_t>(std::llround(std::fmax(seconds, 0)));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  const std::int64_t minutes = (whole + 30) / 60;
  return fmt::format("{}h {:02}m", minutes / 60, minutes % 60);
}

std::string bytes_text(std::int64_t bytes) {
  constexpr std::array units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto number = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; number >= 1023.5 && unit + 1 < units.size(); ++unit) number /= 1024;
  return fmt::format("{:.{}f} {}", number, unit > 0 && number < 9.95 ? 1 : 0, units[unit]);
}

std::string number_text(double value) {
  const double size = std::abs(value);
  if (value == 0) return "0";
  if (size < 1e-4 || size >= 1e6) return fmt::format("{:.2e}", value);
  const int before = static_cast<int>(std::floor(std::log10(size)));
  return fmt::format("{:.{}f}", value, std::max(0, 2 - before));
}

std::string ranges_text(const std::vector<std::int64_t>& ascending) {
  std::string text;
  for (std::size_t first = 0, last = 0; first < ascending.size(); first = ++last) {
    while (last + 1 < ascending.size() && ascending[last + 1] == ascending[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", ascending[first]);
    if (last > first) text += fmt::format("-{}", ascending[last]);
  }
  return text;
}

std::string nearest_multiples(std::int64_t value, std::int64_t unit) {
  const std::int64_t below = value / unit * unit;
  return below == 0 ? fmt::format("{}", unit) : fmt::format("{} or {}", below, below + unit);
}

std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char letter : text) word += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return word + "'";
}

std::string utf8_text(const std::string& text) {
  std::string valid;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t bytes = bytes_of_character(rest);
    if (bytes > 0)
      valid += rest.substr(0, bytes);
    else
      valid += fmt::format("\\x{:02X}", static_cast<unsigned char>(rest.front()));
    rest.remove_prefix(std::max<std::size_t>(1, bytes));
  }
  return valid;
}

bool natural_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char character) { return character >= '0' && character <= '9'; };
  /// Takes a run of digits off the front; without its leading zeros.
  const auto take_number = [&](std::string_view& text) {
    const auto end = static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
    const std::string_view digits = text.substr(0, end);
    text.remove_prefix(end);
    return digits.substr(std::min(digits.find_first_not_of('0'), digits.size()));
  };
  std::string_view left = a, right = b;
  while (!left.empty() && !right.empty()) {
    if (is_digit(left.front()) && is_digit(right.front())) {
      const std::string_view mine = take_number(left), theirs = take_number(right);
      if (mine.size() != theirs.size()) return mine.size() < theirs.size();
      if (mine != theirs) return mine < theirs;
      continue;
    }
    if (left.front() != right.front())
      return static_cast<unsigned char>(left.front()) < static_cast<unsigned char>(right.front());
    left.remove_prefix(1);
    right.remove_prefix(1);
  }
  if (left.empty() != right.empty()) return left.empty();
  return a < b;
}

std::int64_t edit_distance(const std::string& from, const std::string& to) {
  constexpr std::size_t longest = 256;
  if (const std::size_t longer = std::max(from.size(), to.size()); longer > longest)
    return static_cast<std::int64_t>(longer);
  std::vector<std::int64_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::int64_t diagonal = std::exchange(row[0], static_cast<std::int64_t>(i) + 1);
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::int64_t substituted = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates) {
  if (candidates.empty()) fail("no name to compare \"{}\" with", name);
  return *std::ranges::min_element(candidates, {}, [&](const auto& other) { return edit_distance(name, other); });
}

}  // namespace couplet
