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
  for (const auto& command : commands()) text += fmt::format("  {:<17} {}\n", command.name, command.summary);
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
  const auto command = std::ranges::find(commands(), words[0], &Command::name);
  if (command == commands().end()) {
    std::vector<std::string> names{"help"};
    for (const auto& each : commands()) names.push_back(each.name);
    refuse("there is no command \"{}\"; the nearest is {} (couplet help)", words[0], nearest_name(words[0], names));
  }
  return command->function({words.begin() + 1, words.end()});
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> all{
      {"run", "run the whole pipeline on this machine, or what is left of it", run_command, run_syntax},
      {"submit", "run the whole pipeline as Slurm jobs", submit_command, submit_syntax},
      {"cancel", "cancel the Slurm jobs of a run, or of one stage", cancel_command, cancel_syntax},
      {"simulate-preempt", "send running jobs the signal of a time limit, for testing", simulate_preempt_command,
       simulate_preempt_syntax},
      {"stage", "run one stage (what `run` starts; for job scripts)", stage_command, stage_syntax},
      {"status", "show where a run stands", status_command, status_syntax},
      {"logs", "print what the ranks of a stage said", logs_command, logs_syntax},
      {"inspect", "show what a shard or a table holds", inspect_command, inspect_syntax},
      {"verify", "check every byte and every row of a table or a shard", verify_command, verify_syntax},
      {"repair", "drop the damaged shards of a table, so that a rerun makes just those", repair_command, repair_syntax},
      {"clean", "free what the complete stages of a run no longer need", clean_command, clean_syntax},
      {"import", "make a coupling table of pairs that were made elsewhere", import_command, import_syntax},
      {"export", "write a trained model's weights for the program that published its architecture", export_command,
       export_syntax},
      {"reference", "make statistics of a data set's images for Fréchet distances", reference_command,
       reference_syntax},
      {"compare", "put several runs in one report", compare_command, compare_syntax},
      {"sample", "draw samples from a trained model", sample_command, sample_syntax},
      {"score", "score images made by anybody", score_command, score_syntax},
      {"config", "print all keys with their help, values and defaults", config_command, config_syntax},
      {"selftest", "try whether the program works here: ranks, files, devices, training", selftest_command,
       selftest_syntax},
      {"version", "print the versions of the program and of its libraries", version_command, version_syntax},
      {"completion", "print the script with which a shell completes couplet's words", completion_command,
       completion_syntax},
      {"man", "print the manual page", man_command, man_syntax}};
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
