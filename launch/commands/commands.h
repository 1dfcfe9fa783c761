// The commands. Each takes the words behind its name and returns the exit status; it throws what is refused or fails.
#pragma once

#include "launch/commands/command_line.h"

#include <string>
#include <vector>

namespace couplet {

int run_command(const std::vector<std::string>& words);
int stage_command(const std::vector<std::string>& words);
int submit_command(const std::vector<std::string>& words);
int cancel_command(const std::vector<std::string>& words);
int simulate_preempt_command(const std::vector<std::string>& words);
int status_command(const std::vector<std::string>& words);
int logs_command(const std::vector<std::string>& words);
int inspect_command(const std::vector<std::string>& words);
int verify_command(const std::vector<std::string>& words);
int repair_command(const std::vector<std::string>& words);
int clean_command(const std::vector<std::string>& words);
int import_command(const std::vector<std::string>& words);
int export_command(const std::vector<std::string>& words);
int reference_command(const std::vector<std::string>& words);
int sample_command(const std::vector<std::string>& words);
int score_command(const std::vector<std::string>& words);
int compare_command(const std::vector<std::string>& words);
int config_command(const std::vector<std::string>& words);
int selftest_command(const std::vector<std::string>& words);
int version_command(const std::vector<std::string>& words);

/// The flag --redo STAGE of the commands that start a whole run.
Flag redo_flag();
/// Says which sections of students are not used, as student.compare does not list their names.
void say_idle_sections(const Config& config);

struct Command {
  std::string name, summary;
  int (*function)(const std::vector<std::string>& words);
};
/// All of them, in the order in which `couplet help` lists them.
const std::vector<Command>& commands();
/// Runs the command that `words` name. What it throws becomes a message on stderr.
int run_program(const std::vector<std::string>& words);

}  // namespace couplet
