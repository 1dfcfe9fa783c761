// JSON that strangers made or that may be damaged: how it is read, and how it is shown in messages.
#pragma once

#include "storage/error.h"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace couplet {

/// The levels of objects and lists that the files of this program have at most. The library copies, compares and prints
/// values level by level on the stack, which a file of some hundred thousand brackets would exhaust.
inline constexpr int deepest_json = 32;

/// Parses `text`, of which `what` says in messages where it stands ("a/manifest.json"). These are errors: text that is
/// no JSON or no UTF-8, numbers that no double holds, more than `deepest` levels, and a key that stands twice in one
/// object.
nlohmann::json parse_json(std::string_view text, const std::string& what, int deepest = deepest_json);

/// Returns the JSON text of a value for a message, on one line and UTF-8 whatever it holds: at most `most` bytes of it,
/// and "..." where it goes on.
std::string json_excerpt(const nlohmann::json& value, std::size_t most = 200);

/// Returns a value as a `Value`; nothing if it is something else. A number with a fraction is no integer, nor is one
/// that the type cannot hold: the library's own conversion would cut it off.
template <class Value>
std::optional<Value> json_as(const nlohmann::json& value) {
  if constexpr (std::is_integral_v<Value> && !std::is_same_v<Value, bool>) {
    if (!value.is_number_integer()) return std::nullopt;
    const bool fits = value.is_number_unsigned() ? std::in_range<Value>(value.get<std::uint64_t>())
                                                 : std::in_range<Value>(value.get<std::int64_t>());
    return fits ? std::optional(value.get<Value>()) : std::nullopt;
  } else {
    try {
      return value.get<Value>();
    } catch (const nlohmann::json::exception&) {
      return std::nullopt;
    }
  }
}

/// Returns the value of a key as a `Value`. An error that names `what` and the key says that `object` is no object, has
/// no such key, or has something else there.
template <class Value>
Value json_member(const nlohmann::json& object, const char* key, const std::string& what) {
  if (!object.is_object() || !object.contains(key)) fail("{}: has no key '{}'", what, key);
  if (auto found = json_as<Value>(object.at(key))) return *std::move(found);
  fail("{}: has {} under the key '{}', where something else is expected", what, json_excerpt(object.at(key)), key);
}

}  // namespace couplet
