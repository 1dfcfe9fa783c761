// couplet config: every key with its help and value, as an INI file that reads back.
#include "launch/commands/commands.h"

#include <fmt/format.h>

namespace couplet {

CommandSyntax config_syntax() {
  return {.name = "config",
          .arguments = "",
          .summary = "print all keys with their help, values and defaults, as an INI file",
          .flags = {{"config", "FILE", "INI file whose values are shown in place of the defaults"},
                    {"brief", "", "without the help"}},
          .takes_keys = true,
          .notes = "What is printed can be kept as a file and given to --config.\n"};
}

int config_command(const std::vector<std::string>& words) {
  const CommandLine line(config_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(config_syntax()));
    return 0;
  }
  fmt::print("{}", to_ini(resolve_config(line.get("config"), line.settings()), line.has("brief")));
  return 0;
}

}  // namespace couplet
