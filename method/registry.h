// What the registries of method/ share. A registry is a list of kinds, each with a name and a line of help; its members
// stand in a file members.list beside it, a line MEMBER(name) each, and member `name` is defined in a source of its
// own.
#pragma once

#include "storage/error.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

namespace couplet {

/// The kind of that name; another is refused with the nearest and with all there are. `what` the kinds are: "codec".
template <class Kind>
const Kind& find_kind(const std::vector<Kind>& kinds, const std::string& name, const std::string& what) {
  const auto found = std::ranges::find(kinds, name, &Kind::name);
  if (found != kinds.end()) return *found;
  std::vector<std::string> names;
  for (const Kind& kind : kinds) names.push_back(kind.name);
  refuse("unknown {} '{}'; did you mean '{}'? There are: {}", what, name, nearest_name(name, names),
         fmt::join(names, ", "));
}

/// False of a key that other kinds of the registry have to themselves.
template <class Kind>
bool uses_key(const std::vector<Kind>& kinds, const std::string& name, const std::string& key) {
  const auto names = [&](const Kind& kind) { return std::ranges::find(kind.keys, key) != kind.keys.end(); };
  return std::ranges::none_of(kinds, names) ||
         std::ranges::any_of(kinds, [&](const Kind& kind) { return kind.name == name && names(kind); });
}

}  // namespace couplet
