#include "storage/json_text.h"

#include <set>
#include <vector>

namespace couplet {
namespace {

using nlohmann::json;

bool is_utf8(std::string_view text) {
  try {
    static_cast<void>(json(text).dump());
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

/// Follows the parser, and refuses what it would accept: too many levels, and a key that stands twice.
class JsonGuard {
public:
  JsonGuard(const std::string& what, int deepest) : what_(what), deepest_(deepest) {}

  void see(json::parse_event_t event, const json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (static_cast<int>(open_.size()) == deepest_)
          fail("{}: is JSON of more than {} levels, which nothing that belongs there has", what_, deepest_);
        open_.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        open_.pop_back();
        break;
      case json::parse_event_t::key:
        if (!open_.back().insert(value.get<std::string>()).second)
          fail("{}: has the key {} twice in one object", what_, json_excerpt(value));
        break;
      case json::parse_event_t::value:
        break;
    }
  }

private:
  const std::string& what_;
  int deepest_;
  std::vector<std::set<std::string>> open_;  ///< the keys so far of each object that is open; none for lists
};

}  // namespace

json parse_json(std::string_view text, const std::string& what, int deepest) {
  JsonGuard guard(what, deepest);
  const auto see = [&](int, json::parse_event_t event, json& value) {
    guard.see(event, value);
    return true;
  };
  try {
    return json::parse(text, see);
  } catch (const json::parse_error& error) {
    if (!is_utf8(text)) fail("{}: is no JSON: it holds bytes that are no UTF-8 text", what);
    fail("{}: is no JSON from byte {} of its {} bytes on", what, error.byte, text.size());
  } catch (const json::exception&) {
    fail("{}: is JSON with a number that is too large", what);
  }
}

std::string json_excerpt(const json& value, std::size_t most) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // within a character of UTF-8
  return text.substr(0, end) + "...";
}

}  // namespace couplet
