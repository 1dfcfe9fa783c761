#include "launch/commands/commands.h"

#include "stages/kinds.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <algorithm>
#include <cstdio>
#include <exception>

namespace couplet {

namespace {

std::string overview() {
  std::string text = fmt::format(
      "Couplet {}: few-step generators distilled from noise-data couplings.\n\n"
      "  couplet COMMAND [options]\n\n",
      COUPLET_VERSION);
  for (const auto& command : commands())
    text += fmt::format("  {:<17} {}\n", command.syntax.name, command.syntax.summary);
  text += fmt::format("  {:<17} {}\n", "help", "this text, or `couplet help COMMAND`");
  return text;
}

int pick_command(std::vector<std::string> words) {
  if (words.empty()) {
    fmt::print(stderr, "{}", overview());
    return exit_usage;
  }
  // `help COMMAND` is `COMMAND --help`.
  if (words[0] == "help" && words.size() > 1) words = {words[1], "--help"};
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    fmt::print("{}", overview());
    return exit_ok;
  }
  if (words[0] == "--version") words[0] = "version";
  const auto command = std::ranges::find(commands(), words[0], [](const Command& each) { return each.syntax.name; });
  if (command == commands().end()) {
    std::vector<std::string> names{"help"};
    for (const auto& each : commands()) names.push_back(each.syntax.name);
    refuse("there is no command \"{}\"; the nearest is {} (couplet help)", words[0], nearest_name(words[0], names));
  }
  return command->function({words.begin() + 1, words.end()});
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> all{{run_syntax(), run_command},
                                        {submit_syntax(), submit_command},
                                        {cancel_syntax(), cancel_command},
                                        {simulate_preempt_syntax(), simulate_preempt_command},
                                        {stage_syntax(), stage_command},
                                        {status_syntax(), status_command},
                                        {logs_syntax(), logs_command},
                                        {inspect_syntax(), inspect_command},
                                        {verify_syntax(), verify_command},
                                        {repair_syntax(), repair_command},
                                        {clean_syntax(), clean_command},
                                        {import_syntax(), import_command},
                                        {export_syntax(), export_command},
                                        {reference_syntax(), reference_command},
                                        {compare_syntax(), compare_command},
                                        {sample_syntax(), sample_command},
                                        {score_syntax(), score_command},
                                        {config_syntax(), config_command},
                                        {selftest_syntax(), selftest_command},
                                        {version_syntax(), version_command},
                                        {completion_syntax(), completion_command},
                                        {man_syntax(), man_command}};
  return all;
}

int run_program(const std::vector<std::string>& words) {
  try {
    offer_members();
    return pick_command(words);
  } catch (const Error& error) {
    fmt::print(stderr, "couplet: {}\n", error.what());
    return error.status();
  } catch (const fs::filesystem_error& error) {
    fmt::print(stderr, "couplet: {}\n", words_of(error));
    return exit_failed;
  } catch (const std::exception& error) {
    fmt::print(stderr, "couplet: {}\n", error.what());
    return exit_failed;
  }
}

}  // namespace couplet
