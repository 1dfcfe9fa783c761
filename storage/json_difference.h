// How JSON values differ, key by key, for messages.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace couplet {

/// A key whose value is not the same in all of several JSON values.
struct KeyDifference {
  std::string key;  ///< "provenance.teacher"; "value" where one of them is no object
  /// The key's value in each of them, as JSON text of which the first 1000 bytes are kept; "absent" where there is
  /// none.
  std::vector<std::string> values;
};

/// Returns the keys, nested ones too, that are not equal in all of the values, in the order of their names.
std::vector<KeyDifference> json_differences(const std::vector<nlohmann::json>& values);

/// Returns the first differences of two values, joined by "; ", or "" where the values are equal. Each is written by
/// `form`, into which the key and its two values are put: "{} is {}, expected {}".
std::string json_difference_text(const nlohmann::json& first, const nlohmann::json& second, const char* form);

}  // namespace couplet
