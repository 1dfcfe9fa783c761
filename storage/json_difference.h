// How JSON values differ, key by key, for messages.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace couplet {

/// A key whose value is not the same in all of several JSON values.
struct KeyDifference {
  std::string key;                  ///< "provenance.teacher"; "value" where one of them is no object
  std::vector<std::string> values;  ///< of each of them, as JSON text; "absent" where it has no such key
};

/// The keys of at least two values, nested ones too, that are not equal in all of them, in the order of their names.
std::vector<KeyDifference> json_differences(const std::vector<nlohmann::json>& values);

/// The first differences of two values, joined by "; ": each by `form`, into which the key and its two values are put,
/// as in "{} is {}, expected {}". Empty where the values are equal.
std::string json_difference_text(const nlohmann::json& first, const nlohmann::json& second, const char* form);

}  // namespace couplet
