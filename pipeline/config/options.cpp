#include "pipeline/config/options.h"

#include "pipeline/config/validation.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string_view>
#include <type_traits>
#include <utility>

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
  const bool is_allowed = option.allowed.empty() || text == option.default_text ||
                          std::ranges::find(option.allowed, text) != option.allowed.end();
  if (!is_allowed) refuse_value(option, setting);
  // Such a text could not be kept in an INI file: '#' starts a comment there.
  if (text.find_first_of("#\n\r") != std::string::npos)
    refuse("{} = \"{}\" ({}): '#' and line breaks cannot stand in a value", option.key, setting.text, setting.where);
  if (const std::string shown = utf8_text(text); shown != text && !option.is_path)
    refuse("{} = \"{}\" ({}): is no UTF-8, which reports and results are written in; write it in UTF-8", option.key,
           shown, setting.where);
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
  std::string text = fmt::format("# {} ({})\n", option.help, note);
  for (const Choice& choice : option.choices) text += fmt::format("#   {}: {}\n", choice.name, choice.help);
  return text;
}

/// Keys that have another name now.
struct RenamedKey {
  std::string_view old_name, new_name;
};
constexpr std::array renamed_keys{RenamedKey{"student.couplings", "student.compare"},
                                  RenamedKey{"student.field", "student.network"},
                                  RenamedKey{"evaluate.companion-images", "evaluate.pairwise-images"}};

constexpr const char* compare_key = "student.compare";

/// A section whose keys can be set for single names: [student.wide]. In an INI file these stand behind it.
struct NamedSection {
  std::string_view section;
  Sections Config::*names;
  void (*require_name)(const std::string& name, const std::string& where);
};

bool is_folder_name(const std::string& name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  return !name.empty() && name.find_first_not_of(letters) == std::string::npos && name.front() != '-';
}

void require_table_name(const std::string& name, const std::string& where) {
  if (!is_folder_name(name))
    refuse("\"{}\" ({}) cannot be the name of a coupling table: a name has letters, digits, - and _", name, where);
}

/// A student's name is part of names of folders, and of those of stages that end in a dash and a seed.
void require_student_name(const std::string& name, const std::string& where) {
  const auto last = name.find_last_not_of("0123456789");
  const bool ends_as_a_seed = last != std::string::npos && name[last] == '-';
  if (!is_folder_name(name) || ends_as_a_seed)
    refuse(
        "\"{}\" ({}) cannot be the name of a student: a name has letters, digits, - and _ and does not end in a dash "
        "and a number, as \"nf-2\" does; \"wide\" and \"nf-2b\" do not",
        name, where);
  if (name == "teacher" || name == "real")
    refuse("\"{}\" ({}) cannot be the name of a student: scores have that name for something else", name, where);
}

constexpr std::array named_sections{NamedSection{"couple", &Config::couple_sections, require_table_name},
                                    NamedSection{"student", &Config::student_sections, require_student_name}};

/// None: the section has no names.
const NamedSection* find_named(const std::string& section) {
  const auto found = std::ranges::find(named_sections, section, &NamedSection::section);
  return found == named_sections.end() ? nullptr : &*found;
}

/// The setting with its path, if it is one, made absolute: relative ones count from `folder`.
Setting with_absolute_path(Setting setting, const std::filesystem::path& folder) {
  if (!find_option(setting.key).is_path || setting.text.empty()) return setting;
  const std::filesystem::path given = setting.text;
  const std::filesystem::path found = (std::filesystem::absolute(folder) / given).lexically_normal();
  if (!is_there(found) && is_there(given))
    refuse(
        "{} = {} ({}): there is no {}, though there is one below the current folder: a path in a configuration file "
        "counts from the file's own folder; write the whole path",
        setting.key, setting.text, setting.where, found.string());
  setting.text = found.string();
  return setting;
}

/// A value as it stands in a file that lies in `folder`.
std::string ini_value(const Option& option, std::string value, const std::filesystem::path& folder) {
  if (option.is_path && !value.empty() && !folder.empty()) {
    const auto relative =
        std::filesystem::path(value).lexically_relative(std::filesystem::absolute(folder).lexically_normal());
    if (!relative.empty() && *relative.begin() != "..") value = relative.string();
  }
  return value.empty() ? "" : " " + value;
}

std::string sections_of_names(const Config& config, const std::string& section, const std::filesystem::path& folder) {
  std::string text;
  const NamedSection* named = find_named(section);
  if (named == nullptr) return text;
  for (const auto& [name, keys] : config.*named->names) {
    text += fmt::format("\n[{}.{}]\n", section, name);
    for (const auto& [key, value] : keys)
      text += fmt::format("{} ={}\n", key, ini_value(find_option(fmt::format("{}.{}", section, key)), value, folder));
  }
  return text;
}

/// The configuration with the keys of one name's own section in place of everybody's.
Config with_own_keys(const Config& config, const NamedSection& named, const std::string& name) {
  Config own = config;
  const Sections& sections = config.*named.names;
  if (const auto section = sections.find(name); section != sections.end())
    for (const auto& [key, text] : section->second)
      set_value(own, {fmt::format("{}.{}", named.section, key), text, fmt::format("[{}.{}]", named.section, name)});
  return own;
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

std::optional<NamedKey> parse_named_key(const std::string& key) {
  const auto first = key.find('.'), last = key.rfind('.');
  const std::string section = key.substr(0, first);
  if (first == last || find_named(section) == nullptr) return std::nullopt;
  return NamedKey{section, key.substr(first + 1, last - first - 1), section + key.substr(last)};
}

std::string renamed_key(const std::string& key) {
  const auto found = std::ranges::find(renamed_keys, key, &RenamedKey::old_name);
  return found == renamed_keys.end() ? "" : std::string(found->new_name);
}

namespace {

/// Why there is no such key; "" if there is.
std::string key_trouble(const std::string& key) {
  const auto named = parse_named_key(key);
  const std::string& name = named ? named->key : key;
  const auto& table = options();
  const bool exists = std::ranges::find(table, name, &Option::key) != table.end();
  if (exists && !(named && name == compare_key)) return "";
  if (const std::string now = renamed_key(name); !now.empty())
    return fmt::format("{} is called {} now (`couplet config` prints all keys)", key, now);
  std::vector<std::string> keys;
  for (const auto& option : table) {
    if (!named)
      keys.push_back(option.key);
    else if (option.section() == named->section && option.key != compare_key)
      keys.push_back(fmt::format("{}.{}.{}", named->section, named->name, option.name()));
  }
  return fmt::format("unknown key {}; the nearest is {} (`couplet config` prints all)", key, nearest_name(key, keys));
}

}  // namespace

const Option& find_option(const std::string& key) {
  if (const std::string trouble = key_trouble(key); !trouble.empty()) refuse("{}", trouble);
  const auto named = parse_named_key(key);
  return *std::ranges::find(options(), named ? named->key : key, &Option::key);
}

Config default_config() {
  Config config;
  for (const auto& option : options()) set_value(config, {option.key, option.default_text, "default"});
  return config;
}

void set_value(Config& config, const Setting& setting) {
  const Option& option = find_option(setting.key);
  const auto set = [&](Config& in) {
    std::visit([&](auto* value) { parse_into(*value, option, setting, setting.text); }, field_of(option, in));
  };
  const auto named = parse_named_key(setting.key);
  if (!named) {
    set(config);
    if (option.key == compare_key)
      for (const std::string& name : config.compare) require_student_name(name, setting.where);
    return;
  }
  const NamedSection& section = *find_named(named->section);
  section.require_name(named->name, setting.where);
  Config copy = config;
  set(copy);
  (config.*section.names)[named->name][option.name()] = value_text(copy, option.key);
}

std::vector<Setting> read_settings(const std::filesystem::path& file) {
  const auto folder = std::filesystem::absolute(file).parent_path();
  std::vector<Setting> settings = read_ini(file, key_trouble);
  for (Setting& setting : settings) setting = with_absolute_path(std::move(setting), folder);
  return settings;
}

Config resolve_config(const std::filesystem::path& file, const std::vector<Setting>& command_line) {
  Config config = default_config();
  std::vector<Setting> settings;
  if (!file.empty()) settings = read_settings(file);
  for (const auto& setting : command_line)
    settings.push_back(with_absolute_path(setting, std::filesystem::current_path()));
  for (const auto& setting : settings) set_value(config, setting);
  // A table holds the mirror images that its teacher has seen, unless it is told otherwise.
  if (std::ranges::find(settings, "couple.flips", &Setting::key) == settings.end())
    config.couple.flips = config.teacher.flips;
  validate(config);
  return config;
}

StudentConfig student_config(const Config& config, const std::string& name) {
  Config own = with_own_keys(config, *find_named("student"), name);
  bool names_coupling = false;
  if (const auto section = config.student_sections.find(name); section != config.student_sections.end())
    if (const auto coupling = section->second.find("coupling"); coupling != section->second.end())
      names_coupling = !coupling->second.empty();
  const Option& coupling = find_option("student.coupling");
  const bool is_coupling =
      coupling.allowed.empty() || std::ranges::find(coupling.allowed, name) != coupling.allowed.end();
  if (!names_coupling && is_coupling) own.student.coupling = name;
  if (own.student.coupling.empty())
    refuse(
        "the student {} has no coupling: there is none of that name; set student.{}.coupling or student.coupling to {}",
        name, name, coupling.range_text());
  return own.student;
}

CoupleConfig couple_config(const Config& config, const std::string& table) {
  return with_own_keys(config, *find_named("couple"), table).couple;
}

std::string dataset_name(const PrepareConfig& config) {
  if (!config.name.empty()) return config.name;
  const PrepareConfig standard = default_config().prepare;
  if (config.format == standard.format && config.source == standard.source) return "Fashion-MNIST";
  const auto folder = (std::filesystem::path(config.source) / "").parent_path().filename();
  const bool is_named = config.source != standard.source && !folder.empty();
  if (is_named) return utf8_text(folder.string());
  return config.format == "toy" ? config.toy : config.format;
}

std::string value_text(const Config& config, const std::string& key) {
  Config copy = config;  // an option's field is reached through a Config that may be written to
  return std::visit([](auto* value) { return text_of(*value); }, field_of(find_option(key), copy));
}

std::string value_text(const StudentConfig& student, const std::string& key) {
  Config config;
  config.student = student;
  return value_text(config, key);
}

std::string value_text(const CoupleConfig& couple, const std::string& key) {
  Config config;
  config.couple = couple;
  return value_text(config, key);
}

std::map<std::string, std::string> result_facts(const Config& config) {
  std::map<std::string, std::string> facts{{compare_key, value_text(config, compare_key)}};
  for (const Option& option : options())
    if (option.kind == OptionKind::result) facts[option.key] = utf8_text(value_text(config, option.key));
  facts["prepare.name"] = dataset_name(config.prepare);
  for (const NamedSection& named : named_sections)
    for (const auto& [name, keys] : config.*named.names)
      for (const auto& [key, text] : keys) facts[fmt::format("{}.{}.{}", named.section, name, key)] = utf8_text(text);
  return facts;
}

std::string to_ini(const Config& config, bool brief, const std::filesystem::path& folder) {
  std::string text =
      fmt::format("# Couplet {}. Each key is also a command-line flag: --section.key VALUE\n", COUPLET_VERSION);
  std::string section;
  for (const auto& option : options()) {
    if (option.section() != section) {
      text += sections_of_names(config, section, folder);
      text += fmt::format("\n[{}]\n", section = option.section());
    }
    if (!brief) text += comment_of(option);
    text += fmt::format("{} ={}\n", option.name(), ini_value(option, value_text(config, option.key), folder));
  }
  return text;
}

}  // namespace couplet
