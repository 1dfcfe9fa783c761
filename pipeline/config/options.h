// Every option of the program, declared once: name, default, unit, help, range, kind and the field of Config it sets.
// An option has one name, `section.key`, as a key of the INI file and as a command-line flag (`--teacher.channels
// 128`). A key of [student] can also be set for one student of the run, `student.NAME.key`, and a key of [couple] for
// one coupling table, `couple.NAME.key`.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/config/ini_file.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
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

/// One of the values that a text option allows, with what it stands for.
struct Choice {
  std::string name, help;
};

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
  bool is_path = false;                   ///< names a file or folder: its content enters fingerprints, not its name
  bool came_later = false;                ///< at its default it enters no fingerprint
  std::string record_name = {};           ///< what records and fingerprints call it; "": by its key
  std::vector<Choice> choices = {};       ///< the allowed values with their helps, where a registry has offered them

  std::string section() const { return key.substr(0, key.find('.')); }
  std::string name() const { return key.substr(key.find('.') + 1); }
  /// What its value stands by in the records of stages.
  const std::string& recorded_key() const { return record_name.empty() ? key : record_name; }
  bool is_list() const;
  /// "1 … 65536", "one of gaussian, uniform", "true or false", "text".
  std::string range_text() const;
};

/// All options, sections together, in the order in which they are printed.
const std::vector<Option>& options();
/// From now on the option allows these values (and its default) only, and its help lists them: the members of a
/// registry that lies above this layer, offered by the program before it reads any configuration.
void offer_choices(const std::string& key, std::vector<Choice> choices);
/// The option of that name (of "student.wide.channels" student.channels); an unknown one is refused with the nearest
/// valid name, one that has been renamed with its new name.
const Option& find_option(const std::string& key);

/// The name that a key of earlier versions has now; "" for any other key.
std::string renamed_key(const std::string& key);

/// A key of one student, "student.wide.channels", or of one coupling table.
struct NamedKey {
  std::string section;  ///< "student"
  std::string name;     ///< "wide"
  std::string key;      ///< "student.channels"
};
/// Nothing for a key that is of all.
std::optional<NamedKey> parse_named_key(const std::string& key);

/// All defaults.
Config default_config();
/// Sets one key; a value of the wrong type or out of range is refused naming key, value and what is allowed; so
/// is a text that is no UTF-8, unless it is a path.
void set_value(Config& config, const Setting& setting);
/// Those of a configuration file. A relative path in it counts from the file's folder.
std::vector<Setting> read_settings(const std::filesystem::path& file);
/// Defaults, then the file (none if empty), then the command line, whose relative paths count from the current folder.
/// couple.flips is as teacher.flips where it is not given. Checked with `validate`.
Config resolve_config(const std::filesystem::path& file, const std::vector<Setting>& command_line);

/// The configuration of one student: [student] with the keys of its own section, and with its coupling: the one that
/// its section names; else the coupling of its own name; else student.coupling. A student left without one is refused.
StudentConfig student_config(const Config& config, const std::string& name);

/// The configuration of one coupling table: [couple] with the keys of its own section.
CoupleConfig couple_config(const Config& config, const std::string& table);

/// The data set's name in reports: prepare.name; where that is empty, what its source is called: the default one by its
/// name, a folder by its own, and any other by its format.
std::string dataset_name(const PrepareConfig& config);

/// The value as the INI file would hold it; equal values have equal texts.
std::string value_text(const Config& config, const std::string& key);
/// The same of a student's configuration, for a key of [student], and of a table's, for a key of [couple].
std::string value_text(const StudentConfig& student, const std::string& key);
std::string value_text(const CoupleConfig& couple, const std::string& key);
/// What decides results, by name: every result option, student.compare and the keys of the sections of single students
/// and tables. Ranks that work together must have the same. Paths are shown as UTF-8, whatever bytes they hold.
std::map<std::string, std::string> result_facts(const Config& config);
/// The whole configuration as an INI file that reads back equal, with each key's help as a comment unless `brief`.
/// Paths below `folder`, where the file is to lie, are written relative to it, so that both can be moved together.
std::string to_ini(const Config& config, bool brief = false, const std::filesystem::path& folder = {});

}  // namespace couplet
