// The commands. Of each there is the syntax that its help, the manual page and the shell's completion are made of, and
// the function that takes the words behind its name and returns the exit status; it throws what is refused or fails.
#pragma once

#include "launch/commands/command_line.h"

#include <string>
#include <vector>

namespace couplet {

CommandSyntax run_syntax();
int run_command(const std::vector<std::string>& words);
CommandSyntax stage_syntax();
int stage_command(const std::vector<std::string>& words);
CommandSyntax submit_syntax();
int submit_command(const std::vector<std::string>& words);
CommandSyntax cancel_syntax();
int cancel_command(const std::vector<std::string>& words);
CommandSyntax simulate_preempt_syntax();
int simulate_preempt_command(const std::vector<std::string>& words);
CommandSyntax status_syntax();
int status_command(const std::vector<std::string>& words);
CommandSyntax logs_syntax();
int logs_command(const std::vector<std::string>& words);
CommandSyntax inspect_syntax();
int inspect_command(const std::vector<std::string>& words);
CommandSyntax verify_syntax();
int verify_command(const std::vector<std::string>& words);
CommandSyntax repair_syntax();
int repair_command(const std::vector<std::string>& words);
CommandSyntax clean_syntax();
int clean_command(const std::vector<std::string>& words);
CommandSyntax import_syntax();
int import_command(const std::vector<std::string>& words);
CommandSyntax export_syntax();
int export_command(const std::vector<std::string>& words);
CommandSyntax reference_syntax();
int reference_command(const std::vector<std::string>& words);
CommandSyntax sample_syntax();
int sample_command(const std::vector<std::string>& words);
CommandSyntax score_syntax();
int score_command(const std::vector<std::string>& words);
CommandSyntax compare_syntax();
int compare_command(const std::vector<std::string>& words);
CommandSyntax config_syntax();
int config_command(const std::vector<std::string>& words);
CommandSyntax selftest_syntax();
int selftest_command(const std::vector<std::string>& words);
CommandSyntax version_syntax();
int version_command(const std::vector<std::string>& words);
CommandSyntax completion_syntax();
int completion_command(const std::vector<std::string>& words);
CommandSyntax man_syntax();
int man_command(const std::vector<std::string>& words);

/// The flag --redo STAGE of the commands that start a whole run.
Flag redo_flag();
/// Says which sections of students are not used, as student.compare does not list their names.
void say_idle_sections(const Config& config);

struct Command {
  CommandSyntax syntax;
  int (*function)(const std::vector<std::string>& words);
};
/// All of them, in the order in which `couplet help` lists them.
const std::vector<Command>& commands();
/// The commit that the program was built of, such as "v0.2.0-3-g5f2c1d0", with "-dirty" behind it where the tree held
/// changes; "unknown" outside a repository. In a file that the build makes.
const char* program_commit();
/// Runs the command that `words` name. What it throws becomes a message on stderr.
int run_program(const std::vector<std::string>& words);

}  // namespace couplet
