#include "storage/json_difference.h"

#include "storage/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace couplet {
namespace {

using nlohmann::json;

constexpr const char* root_name = "value";
constexpr std::size_t longest_value = 1000;

/// Of a JSON pointer below `root_name`: "/value/a/b" → "a.b".
std::string name_of(const std::string& pointer) {
  const std::string below = fmt::format("/{}/", root_name);
  if (!pointer.starts_with(below)) return root_name;
  std::string name = pointer.substr(below.size());
  std::ranges::replace(name, '/', '.');
  for (const auto& [escape, letter] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}})
    for (auto at = name.find(escape); at != std::string::npos; at = name.find(escape, at + 1))
      name.replace(at, 2, letter);
  return name;
}

}  // namespace

std::vector<KeyDifference> json_differences(const std::vector<json>& values) {
  std::vector<json> flat;
  std::set<std::string> pointers;
  for (const json& value : values) {
    flat.push_back(json{{root_name, value}}.flatten());
    for (const auto& [pointer, part] : flat.back().items()) pointers.insert(pointer);
  }
  std::vector<KeyDifference> differences;
  for (const std::string& pointer : pointers) {
    KeyDifference difference{name_of(pointer), {}};
    bool equal = true;
    for (const json& one : flat) {
      equal = equal && one.contains(pointer) && one.at(pointer) == flat.front().at(pointer);
      difference.values.push_back(one.contains(pointer) ? json_excerpt(one.at(pointer), longest_value) : "absent");
    }
    if (!equal) differences.push_back(std::move(difference));
  }
  return differences;
}

std::string json_difference_text(const json& first, const json& second, const char* form) {
  constexpr std::size_t most = 5;
  const std::vector<KeyDifference> differences = json_differences({first, second});
  std::string text;
  for (std::size_t i = 0; i < std::min(most, differences.size()); ++i) {
    const auto& [key, values] = differences[i];
    text += (i > 0 ? "; " : "") + fmt::format(fmt::runtime(form), key, values[0], values[1]);
  }
  if (differences.size() > most) text += fmt::format("; and {} more", differences.size() - most);
  return text;
}

}  // namespace couplet
