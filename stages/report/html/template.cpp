#include "stages/report/html/template.h"

#include "stages/report/html/markup.h"
#include "storage/error.h"

#include <kainjow/mustache.hpp>

#include <memory>
#include <sstream>
#include <utility>
#include <vector>

namespace couplet {

namespace {

namespace mustache = kainjow::mustache;
using Value = mustache::data;

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool is_false(const Json& value) {
  return value.is_null() || value == false || value == "" || (value.is_array() && value.empty());
}

Value value_of(const Json& json);

/// What is no object becomes one, with the item as its field ".".
Value item_of(const Json& json, bool first, bool last) {
  Value item = json.is_object() ? value_of(json) : Value(Value::type::object);
  if (!json.is_object()) item["."] = value_of(json);
  item["first"] = Value(first);
  item["last"] = Value(last);
  return item;
}

Value value_of(const Json& json) {
  if (is_false(json)) return Value(false);
  if (json == true) return Value(true);
  if (json.is_object()) {
    Value object(Value::type::object);
    for (const auto& [name, value] : json.items()) object[name] = value_of(value);
    return object;
  }
  if (!json.is_array()) return Value(text_of(json));
  mustache::list list;
  for (std::size_t i = 0; i < json.size(); ++i) list.push_back(item_of(json[i], i == 0, i + 1 == json.size()));
  return Value(list);
}

/// True of a line that is one tag which shows nothing by itself: the begin or end of a section, a comment.
bool is_tag_line(std::string_view line) {
  return line.size() > 4 && line.starts_with("{{") &&
         std::string_view("#^/!").find(line[2]) != std::string_view::npos && line.find("}}") == line.size() - 2;
}

/// The library leaves an empty line where a section is left out whose tags have lines of their own: their line ends go.
std::string without_tag_lines(std::string_view text) {
  std::string kept;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    kept += line;
    if (end == std::string_view::npos) break;
    if (!is_tag_line(line)) kept += '\n';
    text.remove_prefix(end + 1);
  }
  return kept;
}

/// Finds names in the innermost object that has them.
class Context : public mustache::basic_context<std::string> {
public:
  Context(const Templates& templates, const Value& data) : data_{&data} {
    for (const auto& [name, text] : templates) partials_[name] = Value(without_tag_lines(text));
  }

  void push(const Value* data) override { data_.push_back(data); }
  void pop() override { data_.pop_back(); }

  const Value* get(const std::string& name) const override {
    if (name == ".") {
      const Value* item = data_.back()->get(".");
      return item ? item : data_.back();
    }
    if (const Value* found = follow(name)) return found;
    if (name.starts_with("is_")) return truth(is_kind(name.substr(3)));
    const Value* asked = name.starts_with("has_") ? follow(name.substr(4)) : nullptr;
    if (!asked) fail("the data has no '{}'", name);
    return truth(!asked->is_false());
  }

  const Value* get_partial(const std::string& name) const override {
    const auto found = partials_.find(name);
    if (found == partials_.end()) fail("there is no partial '{}'", name);
    return &found->second;
  }

private:
  /// "a.b": b of the innermost a.
  const Value* follow(const std::string& path) const {
    std::istringstream parts(path);
    std::string part;
    std::getline(parts, part, '.');
    const Value* found = find(part);
    while (found && std::getline(parts, part, '.')) found = found->get(part);
    return found;
  }
  const Value* find(const std::string& name) const {
    for (auto data = data_.rbegin(); data != data_.rend(); ++data)
      if (const Value* found = (*data)->get(name)) return found;
    return nullptr;
  }
  bool is_kind(const std::string& kind) const {
    const Value* found = find("kind");
    if (!found) fail("the data has no 'kind' that could be '{}'", kind);
    return found->is_string() && found->string_value() == kind;
  }

  const Value* truth(bool holds) const { return holds ? &true_ : &false_; }

  std::map<std::string, Value> partials_;
  std::vector<const Value*> data_;
  const Value true_{true}, false_{false};
};

}  // namespace

std::string render(const Templates& templates, std::string_view name, const Json& data, Escape escape) {
  const auto found = templates.find(name);
  if (found == templates.end()) fail("there is no template '{}'", name);
  mustache::mustache parsed(without_tag_lines(found->second));
  parsed.set_custom_escape([&](const std::string& text) { return escape == Escape::html ? escaped(text) : text; });
  const Value value = value_of(data);
  std::string text;
  try {
    Context context(templates, value);
    text = parsed.render(context);
  } catch (const Error& error) {
    fail("template {}: {}", name, error.what());
  }
  if (!parsed.is_valid()) fail("template {}: {}", name, parsed.error_message());
  return text;
}

}  // namespace couplet
