#include "pipeline/config/options.h"

#include "pipeline/config/validation.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <type_traits>

namespace couplet {

namespace {

template <class T>
constexpr bool is_vector = false;
template <class T>
constexpr bool is_vector<std::vector<T>> = true;

/// The type that a pointer in a ConfigField points to.
template <class Pointer>
using Pointee = std::remove_pointer_t<std::decay_t<Pointer>>;

std::string text_of(std::int64_t value) {
  return fmt::format("{}", value);
}
std::string text_of(double value) {
  return fmt::format("{}", value);
}
std::string text_of(bool value) {
  return value ? "true" : "false";
}
std::string text_of(const std::string& value) {
  return value;
}
template <class T>
std::string text_of(const std::vector<T>& values) {
  return fmt::format("{}", fmt::join(values, " "));
}

[[noreturn]] void refuse_value(const Option& option, const Setting& setting) {
  refuse("{} = \"{}\" ({}): expected {}{}{}", option.key, setting.text, setting.where, option.range_text(),
         option.is_list() ? ", separated by spaces or commas" : "", option.unit.empty() ? "" : ", in " + option.unit);
}

/// The whole text as a number within the option's range.
template <class Number>
Number parse_number(const Option& option, const Setting& setting, const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  // Written so that NaN fails it.
  const auto magnitude = static_cast<double>(value);
  if (!whole || !(magnitude >= option.minimum && magnitude <= option.maximum)) refuse_value(option, setting);
  return value;
}

void parse_into(std::int64_t& value, const Option& option, const Setting& setting, const std::string& text) {
  value = parse_number<std::int64_t>(option, setting, text);
}

void parse_into(double& value, const Option& option, const Setting& setting, const std::string& text) {
  value = parse_number<double>(option, setting, text);
}

void parse_into(bool& value, const Option& option, const Setting& setting, const std::string& text) {
  if (text != "true" && text != "false") refuse_value(option, setting);
  value = text == "true";
}

void parse_into(std::string& value, const Option& option, const Setting& setting, const std::string& text) {
  if (!option.allowed.empty() && std::ranges::find(option.allowed, text) == option.allowed.end())
    refuse_value(option, setting);
  // Such a text could not be kept in an INI file: '#' starts a comment there.
  if (text.find_first_of("#\n\r") != std::string::npos)
    refuse("{} = \"{}\" ({}): '#' and line breaks cannot stand in a value", option.key, setting.text, setting.where);
  value = text;
}

template <class T>
void parse_into(std::vector<T>& values, const Option& option, const Setting& setting, const std::string& text) {
  values.clear();
  for (std::size_t end = 0, begin = 0; (begin = text.find_first_not_of(" ,\t", end)) != std::string::npos;) {
    end = std::min(text.find_first_of(" ,\t", begin), text.size());
    parse_into(values.emplace_back(), option, setting, text.substr(begin, end - begin));
  }
}

ConfigField field_of(const Option& option, Config& config) {
  return option.field(config);
}

std::string comment_of(const Option& option) {
  std::string note = option.range_text();
  if (!option.unit.empty()) note += ", " + option.unit;
  note += fmt::format("; default {}", option.default_text.empty() ? "empty" : option.default_text);
  if (option.kind == OptionKind::execution) note += "; execution";
  return fmt::format("# {} ({})\n", option.help, note);
}

}  // namespace

bool Option::is_list() const {
  Config config;
  return std::visit([](auto* value) { return is_vector<Pointee<decltype(value)>>; }, field_of(*this, config));
}

std::string Option::range_text() const {
  Config config;
  const ConfigField value = field_of(*this, config);
  if (std::holds_alternative<bool*>(value)) return "true or false";
  if (std::holds_alternative<std::string*>(value) || std::holds_alternative<std::vector<std::string>*>(value))
    return allowed.empty() ? "text" : fmt::format("{} {}", is_list() ? "some of" : "one of", fmt::join(allowed, ", "));
  const bool whole =
      std::holds_alternative<std::int64_t*>(value) || std::holds_alternative<std::vector<std::int64_t>*>(value);
  return fmt::format("{}number{} {} … {}", whole ? "whole " : "", is_list() ? "s" : "", minimum, maximum);
}

const Option& find_option(const std::string& key) {
  const auto& table = options();
  const auto found = std::ranges::find(table, key, &Option::key);
  if (found != table.end()) return *found;
  std::vector<std::string> keys;
  for (const auto& option : table) keys.push_back(option.key);
  refuse("unknown key {}; the nearest is {} (`couplet config` prints all)", key, nearest_name(key, keys));
}

Config default_config() {
  Config config;
  for (const auto& option : options()) set_value(config, {option.key, option.default_text, "default"});
  return config;
}

void set_value(Config& config, const Setting& setting) {
  const Option& option = find_option(setting.key);
  std::visit([&](auto* value) { parse_into(*value, option, setting, setting.text); }, field_of(option, config));
}

std::vector<Setting> read_settings(const std::filesystem::path& file) {
  std::vector<std::string> keys;
  for (const auto& option : options()) keys.push_back(option.key);
  return read_ini(file, keys, "`couplet config` prints all");
}

Config resolve_config(const std::filesystem::path& file, const std::vector<Setting>& command_line) {
  Config config = default_config();
  if (!file.empty())
    for (const auto& setting : read_settings(file)) set_value(config, setting);
  for (const auto& setting : command_line) set_value(config, setting);
  validate(config);
  return config;
}

std::string value_text(const Config& config, const std::string& key) {
  Config copy = config;  // an option's field is reached through a Config that may be written to
  return std::visit([](auto* value) { return text_of(*value); }, field_of(find_option(key), copy));
}

std::string to_ini(const Config& config, bool brief) {
  std::string text =
      fmt::format("# Couplet {}. Each key is also a command-line flag: --section.key VALUE\n", COUPLET_VERSION);
  std::string section;
  for (const auto& option : options()) {
    if (option.section() != section) text += fmt::format("\n[{}]\n", section = option.section());
    if (!brief) text += comment_of(option);
    const std::string value = value_text(config, option.key);
    text += fmt::format("{} ={}{}\n", option.name(), value.empty() ? "" : " ", value);
  }
  return text;
}

}  // namespace couplet
