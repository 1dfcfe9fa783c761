#include "storage/archives/file_names.h"

#include "storage/error.h"
#include "storage/text.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace couplet {

bool path_less(std::string_view a, std::string_view b) {
  const auto [left, right] = std::ranges::mismatch(a, b);
  if (left == a.end() || right == b.end()) return left == a.end() && right != b.end();
  // A component ends before it goes on: its end counts less than any letter.
  const auto rank = [](char letter) {
    return letter == '/' ? 0 : static_cast<int>(static_cast<unsigned char>(letter));
  };
  return rank(*left) < rank(*right);
}

std::string shown_name(std::string_view name) {
  constexpr std::size_t most = 200;
  std::string shown;
  for (const char letter : utf8_text(std::string(name.substr(0, most)))) {
    const auto byte = static_cast<unsigned char>(letter);
    shown += byte < 0x20 || byte == 0x7f ? fmt::format("\\x{:02X}", byte) : std::string(1, letter);
  }
  return name.size() > most ? shown + "..." : shown;
}

void FileNames::add(std::string_view name) {
  if (starts_.size() > std::numeric_limits<std::uint32_t>::max()) fail("more than 4294967294 files");
  letters_ += name;
  starts_.push_back(letters_.size());
}

std::string_view FileNames::operator[](std::int64_t place) const {
  const auto i = static_cast<std::size_t>(place);
  return std::string_view(letters_).substr(starts_[i], starts_[i + 1] - starts_[i]);
}

std::vector<std::uint32_t> FileNames::sort() {
  std::vector<std::uint32_t> order(starts_.size() - 1);
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return path_less((*this)[a], (*this)[b]); });
  FileNames sorted;
  sorted.letters_.reserve(letters_.size());
  sorted.starts_.reserve(starts_.size());
  for (const std::uint32_t number : order) sorted.add((*this)[number]);
  *this = std::move(sorted);
  return order;
}

}  // namespace couplet
