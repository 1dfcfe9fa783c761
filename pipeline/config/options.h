// Every option of the program, declared once: name, default, unit, help, range, kind and the field of Config it sets.
// An option has one name, `section.key`, as a key of the INI file and as a command-line flag (`--teacher.channels
// 128`).
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/config/ini_file.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <variant>
#include <vector>

namespace couplet {

/// A result option can change an output, so it enters fingerprints; an execution option cannot (ranks, threads, paths,
/// intervals).
enum class OptionKind { result, execution };

/// The field of a Config that an option sets; its type is the option's type.
using ConfigField = std::variant<std::int64_t*, double*, bool*, std::string*, std::vector<std::string>*,
                                 std::vector<std::int64_t>*, std::vector<double>*>;

struct Option {
  std::string key;  ///< "teacher.head-size"
  OptionKind kind = OptionKind::result;
  std::function<ConfigField(Config&)> field;
  std::string default_text;
  std::string unit;                                           ///< "" for pure numbers and names
  std::string help;                                           ///< one line
  double minimum = -std::numeric_limits<double>::infinity();  ///< of numbers, inclusive
  double maximum = std::numeric_limits<double>::infinity();
  std::vector<std::string> allowed = {};  ///< of texts; empty: anything

  std::string section() const { return key.substr(0, key.find('.')); }
  std::string name() const { return key.substr(key.find('.') + 1); }
  bool is_list() const;
  /// "1 … 65536", "one of gaussian, uniform", "true or false", "text".
  std::string range_text() const;
};

/// All options, sections together, in the order in which they are printed.
const std::vector<Option>& options();
/// The option of that name; an unknown one is refused with the nearest valid name.
const Option& find_option(const std::string& key);

/// All defaults.
Config default_config();
/// Sets one key; a value of the wrong type or out of range is refused naming key, value and what is allowed.
void set_value(Config& config, const Setting& setting);
/// The settings of a configuration file.
std::vector<Setting> read_settings(const std::filesystem::path& file);
/// Defaults, then the file (none if empty), then the command line. Checked with `validate`.
Config resolve_config(const std::filesystem::path& file, const std::vector<Setting>& command_line);

/// The value as the INI file would hold it; equal values have equal texts.
std::string value_text(const Config& config, const std::string& key);
/// The whole configuration as an INI file that reads back equal, with each key's help as a comment unless `brief`.
std::string to_ini(const Config& config, bool brief = false);

}  // namespace couplet
