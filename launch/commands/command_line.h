// The command line of one command: its own flags, and every key of the configuration as a flag.
#pragma once

#include "pipeline/config/options.h"
#include "storage/error.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace couplet {

/// A flag of a command. `value` stands for the value in the help, and says what it is where a shell completes it (DIR,
/// FILE, STAGE, ...: launch/commands/completion.cpp); it is "" for a switch. A `letter` such as 'f' makes -f stand for
/// --follow.
struct Flag {
  std::string name, value, help;
  bool repeated = false;
  char letter = 0;
  std::vector<std::string> choices = {};  ///< the values, where there are few
};

struct CommandSyntax {
  std::string name;       ///< "run"
  std::string arguments;  ///< "NAME", "RUN [STAGE]", "RUN..." or "": names separated by spaces. Those in [] may be left
                          ///< out; of a last one with "..." there may be any number
  std::string summary;    ///< one line
  std::vector<Flag> flags;
  bool takes_keys = false;                     ///< it takes --section.key VALUE too
  std::vector<std::string> further_keys = {};  ///< it takes these too, which the notes explain
  std::string notes;                           ///< more help, in whole lines
};

/// What the user gave. Unknown flags are refused with the nearest name; so are repeated flags and a missing argument.
class CommandLine {
public:
  CommandLine(const CommandSyntax& syntax, const std::vector<std::string>& words);

  bool help() const { return has("help"); }
  bool has(const std::string& flag) const { return flags_.contains(flag); }
  /// Returns the flag's value, or `otherwise`.
  std::string get(const std::string& flag, const std::string& otherwise = "") const;
  std::vector<std::string> all(const std::string& flag) const;
  /// Returns the flag's value as a number. A text that is none, or a number below `minimum`, is refused.
  std::int64_t integer(const std::string& flag, std::int64_t otherwise, std::int64_t minimum) const;
  double number(const std::string& flag, double otherwise) const;
  /// Returns the flag's value. A command line without the flag is refused.
  std::string required(const std::string& flag) const;

  /// Returns the argument at a position; "" for one that may be left out and is.
  std::string argument(std::size_t position = 0) const {
    return position < arguments_.size() ? arguments_[position] : "";
  }
  const std::vector<std::string>& arguments() const { return arguments_; }
  /// Keys of the configuration, in the order given.
  const std::vector<Setting>& settings() const { return settings_; }

private:
  std::string command_;
  std::map<std::string, std::vector<std::string>> flags_;
  std::vector<std::string> arguments_;
  std::vector<Setting> settings_;
};

/// Refuses a path at which there is something, or can be nothing (a name that is too long).
void require_absent(const std::filesystem::path& path);
/// Returns the value of --output, the path of a file that does not exist yet and whose name ends in one of `endings`.
std::filesystem::path new_output(const CommandLine& line, const std::vector<std::string>& endings);

/// "-f, --follow", "--ranks N"
std::string flag_text(const Flag& flag);
/// The flags of the command and those that stand for keys, with --help as the last.
std::vector<Flag> all_flags(const CommandSyntax& syntax);
/// What `couplet NAME --help` prints.
std::string help_text(const CommandSyntax& syntax);

}  // namespace couplet
