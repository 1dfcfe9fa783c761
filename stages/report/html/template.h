// Templates: text with {{names}} in it (https://mustache.github.io), filled with JSON.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace couplet {

/// Fields keep the order in which they were added: the one in which they are documented.
using Json = nlohmann::ordered_json;

/// Templates by name; each may use any other as a partial, {{>name}}.
using Templates = std::map<std::string, std::string, std::less<>>;
/// Those of stages/report/templates, without the line end at the end of a file.
const Templates& report_templates();

enum class Escape {
  html,  ///< for HTML: {{name}} as `escaped` has it, {{{name}}} as it is
  none,  ///< for plain text
};

/// The template `name` filled with `data`. Beyond the specification:
/// * null, false, "" and [] are false in {{#name}} and {{^name}} and shown as nothing; 0 is true.
/// * Items of a list have `first` and `last`; {{.}} is an item that is no object.
/// * {{#has_name}} holds where {{#name}} would show something: once for a whole list.
/// * {{#is_teacher}} holds where the nearest `kind` is "teacher".
/// A name that is not in the data is an error that names it and the template: a misspelt field does not pass for an
/// empty one. So is a partial that there is not, and a template that cannot be read.
std::string render(const Templates& templates, std::string_view name, const Json& data, Escape escape = Escape::html);

}  // namespace couplet
