#include "storage/formats/npy_header.h"

#include <algorithm>
#include <charconv>

namespace couplet {
namespace {

/// Takes one token after the other from the front of a text, past blanks. What is not there is not taken.
class Scanner {
public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool take(std::string_view token) {
    skip_blanks();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  /// A string in quotes of one kind, without escapes.
  std::optional<std::string> take_string() {
    skip_blanks();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return std::nullopt;
    const auto end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    if (text.find('\\') != std::string::npos) return std::nullopt;
    return text;
  }
  std::optional<bool> take_truth() {
    if (take("True")) return true;
    if (take("False")) return false;
    return std::nullopt;
  }
  std::optional<std::uint64_t> take_number() {
    skip_blanks();
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
    if (error != std::errc()) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return number;
  }
  /// "()", "(3,)", "(3, 4)"
  std::optional<std::vector<std::uint64_t>> take_tuple() {
    std::vector<std::uint64_t> numbers;
    if (!take("(")) return std::nullopt;
    while (!take(")")) {
      const auto number = take_number();
      if (!number) return std::nullopt;
      numbers.push_back(*number);
      if (!take(",")) return take(")") ? std::optional(numbers) : std::nullopt;
    }
    return numbers;
  }
  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }

private:
  void skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n"), rest_.size())); }

  std::string_view rest_;
};

/// The values of the keys that have been met.
struct Entries {
  std::optional<std::string> descriptor;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::uint64_t>> shape;

  /// Takes "'key': value"; false if it is none of the three, or has been met.
  bool take(Scanner& scanner) {
    const auto key = scanner.take_string();
    if (!key || !scanner.take(":")) return false;
    if (*key == "descr" && !descriptor) return (descriptor = scanner.take_string()).has_value();
    if (*key == "fortran_order" && !fortran_order) return (fortran_order = scanner.take_truth()).has_value();
    if (*key == "shape" && !shape) return (shape = scanner.take_tuple()).has_value();
    return false;
  }
};

}  // namespace

std::optional<NpyHeader> parse_npy_header(std::string_view text) {
  Scanner scanner(text);
  Entries entries;
  if (!scanner.take("{")) return std::nullopt;
  while (!scanner.take("}")) {
    if (!entries.take(scanner)) return std::nullopt;
    if (!scanner.take(",")) {
      if (!scanner.take("}")) return std::nullopt;
      break;
    }
  }
  if (!scanner.at_end() || !entries.descriptor || !entries.fortran_order || !entries.shape) return std::nullopt;
  return NpyHeader{*entries.descriptor, *entries.fortran_order, *entries.shape};
}

}  // namespace couplet
