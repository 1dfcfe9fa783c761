// couplet man: the manual page, in the language of troff.
#include "launch/commands/commands.h"

#include <array>
#include <sstream>
#include <utility>

namespace couplet {

CommandSyntax man_syntax() {
  return {
      .name = "man",
      .arguments = "",
      .summary = "print the manual page, for man, groff or mandoc",
      .flags = {},
      .takes_keys = false,
      .notes = "To read it: couplet man > couplet.1; man ./couplet.1. `make install` keeps it where man finds it.\n"};
}

namespace {

/// Text of ours as troff takes it: characters that mean something to it stand for themselves. In UTF-8.
std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const bool line_starts = result.empty() || result.back() == '\n';
    if (line_starts && (c == '.' || c == '\'')) result += "\\&";
    switch (c) {
      case '\\':
        result += "\\e";
        break;
      case '-':
        result += "\\-";
        break;
      case '`':
        result += "\\(ga";
        break;
      case '\'':
        result += "\\(aq";
        break;
      case '^':
        result += "\\(ha";
        break;
      case '~':
        result += "\\(ti";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string bold(const std::string& text) {
  return "\\fB" + escaped(text) + "\\fR";
}

std::string paragraph(const std::string& text) {
  return ".PP\n" + escaped(text) + "\n";
}

/// A tag, in troff already, and what it means.
std::string tagged(const std::string& tag, const std::string& text) {
  return ".TP\n" + tag + "\n" + escaped(text) + "\n";
}

std::string flag_entry(const Flag& flag) {
  std::string tag = flag.letter ? bold(fmt::format("-{}", flag.letter)) + ", " : "";
  tag += bold("--" + flag.name);
  if (!flag.value.empty()) tag += " \\fI" + escaped(flag.value) + "\\fR";
  return tagged(tag, flag.help);
}

/// Whole lines of help. Those that are set in two columns become a tag and what it means.
std::string notes(const std::string& text) {
  std::string result = ".PP\n";
  bool tags = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t begin = line.find_first_not_of(' ');
    if (begin == std::string::npos) {
      result += ".PP\n";
      continue;
    }
    const std::size_t gap = begin == 0 ? std::string::npos : line.find("  ", begin);
    if (gap != std::string::npos) {
      result += tagged(bold(line.substr(begin, gap - begin)), line.substr(line.find_first_not_of(' ', gap)));
    } else {
      if (tags) result += ".PP\n";
      result += escaped(line.substr(begin)) + "\n";
    }
    tags = gap != std::string::npos;
  }
  return result;
}

std::string command_section(const CommandSyntax& syntax) {
  std::string text = ".SS couplet " + escaped(syntax.name);
  if (!syntax.arguments.empty()) text += " " + escaped(syntax.arguments);
  text += "\n" + paragraph(syntax.summary + ".");
  for (const Flag& flag : all_flags(syntax)) text += flag_entry(flag);
  return syntax.notes.empty() ? text : text + notes(syntax.notes);
}

std::string key_entry(const Option& option) {
  std::string note = option.range_text();
  if (!option.unit.empty()) note += ", " + option.unit;
  note += fmt::format("; default {}", option.default_text.empty() ? "empty" : option.default_text);
  std::string text = tagged(bold(option.key), fmt::format("{} ({})", option.help, note));
  for (const Choice& choice : option.choices) text += ".br\n" + escaped(choice.name + ": " + choice.help) + "\n";
  return text;
}

using Entries = std::vector<std::pair<const char*, const char*>>;

const Entries page_statuses{
    {"0", "done"},
    {"1", "it could not be done; the last line on stderr says what, with which file, and what to do"},
    {"2", "the command line or configuration was refused before any work"},
    {"75", "it stopped on request after saving; the same command goes on"}};

const Entries page_variables{
    {"PATH", "where mpirun or mpiexec, srun, sbatch, squeue, sacct and scancel are looked for"},
    {"CUDA_VISIBLE_DEVICES", "the GPUs that a process sees, as everywhere"},
    {"OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_LOCAL_SIZE, OMPI_COMM_WORLD_RANK, PMIX_RANK, PMI_RANK, PMI_SIZE, "
     "MPI_LOCALNRANKS, SLURM_PROCID, SLURM_STEP_NUM_TASKS",
     "set by mpirun, Hydra or srun; by them a process knows that it is one of several ranks"},
    {"SLURM_CPUS_PER_TASK, SLURM_STEP_TASKS_PER_NODE, SLURM_NODEID",
     "set by srun; they tell a rank which share of the host's cores is its own"},
    {"SLURM_GPUS*, SLURM_JOB_GPUS, SLURM_STEP_GPUS", "set by Slurm; that GPUs of the job cannot be used is an error"},
    {"SLURM_JOB_ID", "set by Slurm; locks name the job that holds them"},
    {"SBATCH_*", "not used by couplet submit, which says so: a job asks for what the cluster profile says"},
    {"HDF5_VDS_PREFIX", "where the sources of virtual data sets are looked for, as HDF5 does"}};

const Entries page_files{
    {"RUN/config.ini", "the resolved configuration of the run"},
    {"RUN/*/stage.json", "what a stage was made with, and whether it is complete"},
    {"RUN/log/", "what the ranks of every stage said"},
    {"RUN/coupling/NAME/train, RUN/coupling/NAME/test", "a coupling table: HDF5 shards and manifest.json"},
    {"RUN/evaluate/results.json", "every score, with what it was made with"},
    {"RUN/report/report.html", "the report"},
    {"PREFIX/share/couplet", "presets (configs), cluster profiles (slurm) and documentation (docs)"}};

std::string section(const std::string& title, const Entries& entries) {
  std::string text = ".SH " + title + "\n";
  for (const auto& [tag, meaning] : entries) text += tagged(bold(tag), meaning);
  return text;
}

std::string page() {
  std::string text = fmt::format(
      ".\\\" Printed by `couplet man`.\n"
      ".TH COUPLET 1 \"\" \"Couplet {}\" \"User Commands\"\n"
      ".nh\n.ad l\n"  // no hyphens of troff's own, no wide spaces
      ".SH NAME\ncouplet \\- few\\-step image generators distilled from noise\\-data couplings\n"
      ".SH SYNOPSIS\n\\fBcouplet\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR ...] [\\fB\\-\\-flag\\fR [\\fIVALUE\\fR]] "
      "[\\fB\\-\\-section.key\\fR \\fIVALUE\\fR]\n.br\n\\fBcouplet help\\fR [\\fICOMMAND\\fR]\n.SH DESCRIPTION\n",
      escaped(COUPLET_VERSION));
  text += paragraph(
      "Couplet trains a normalizing-flow teacher, carries every training image to its noise with it into a coupling "
      "table, trains few-step students from the pairs, scores them and writes a report. Students can be trained of "
      "other couplings, without a teacher. A run lives in a run directory; stopped at any moment, the same command "
      "goes on.");
  text += paragraph(
      "A flag and its value are two words or one, --flag=VALUE. Keys of the configuration are flags as well; the "
      "command line wins over the configuration file, the file over the defaults.");
  text += ".SH COMMANDS\n";
  for (const Command& command : commands()) text += command_section(command.syntax);
  text += ".SH CONFIGURATION\n" +
          paragraph(
              "Each key is one of an INI file, in its section, and a flag. Lists are separated by spaces or commas. "
              "Keys of [student] can be set for one student, student.NAME.key, and those of [couple] for one table.");
  std::string last;
  for (const Option& option : options()) {
    if (option.section() != last) text += ".SS [" + escaped(last = option.section()) + "]\n";
    text += key_entry(option);
  }
  text += section("EXIT STATUS", page_statuses) + section("ENVIRONMENT", page_variables) + section("FILES", page_files);
  text += ".SH SEE ALSO\n\\fBmpirun\\fR(1), \\fBsrun\\fR(1), \\fBsbatch\\fR(1), \\fBh5dump\\fR(1)\n";
  return text + paragraph("docs/commands.md, and the pages beside it, in PREFIX/share/couplet/docs.");
}

}  // namespace

int man_command(const std::vector<std::string>& words) {
  const CommandLine line(man_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(man_syntax()));
    return exit_ok;
  }
  fmt::print("{}", page());
  return exit_ok;
}

}  // namespace couplet
