// couplet completion: the script with which a shell completes the words of a command line.
#include "launch/commands/commands.h"
#include "stages/kinds.h"

#include <fmt/ranges.h>

#include <array>
#include <set>
#include <sstream>
#include <utility>
#include <variant>

namespace couplet {

CommandSyntax completion_syntax() {
  return {.name = "completion",
          .arguments = "SHELL",
          .summary = "print the script with which a shell completes couplet's words",
          .flags = {},
          .takes_keys = false,
          .notes =
              "SHELL: bash, version 4 or newer. In it, or in ~/.bashrc: source <(couplet completion bash).\n"
              "`make install` keeps the script where bash-completion finds it. It completes commands, flags, keys\n"
              "(--teacher.channels) and the values that have names, files, run directories, and the stages and\n"
              "models of a run.\n"};
}

namespace {

/// What the script does, over the tables that stand before it.
constexpr const char* bash_functions = R"(
# Offers those of the words that begin as the current one does, up to their next dot: sections first, then their keys.
_couplet_offer_names() {
  local name rest
  for name; do
    [[ $name == "$current"* ]] || continue
    rest=${name#"$current"}
    [[ $rest == *.* ]] && name=$current${rest%%.*}.
    COMPREPLY+=("$name")
  done
  [[ ${COMPREPLY[0]-} == *. ]] && compopt -o nospace 2>/dev/null
}

_couplet_offer_flags() {
  local section name key keys=() own=()
  [[ " $_couplet_keyed " == *" $command "* ]] && keys=($_couplet_keys)
  for section in $_couplet_named; do
    [[ $current == --$section.*.* ]] || continue
    name=${current#--"$section".}
    for key in "${keys[@]}"; do
      [[ $key == --$section.* ]] && own+=("--$section.${name%%.*}.${key#--"$section".}")
    done
  done
  _couplet_offer_names ${_couplet_flags[$command]-} "${keys[@]}" "${own[@]}"
}

# Offers values: those given, or what lies on the disk.
_couplet_offer_values() {
  local kind=${1-} values= file
  case $kind in
    files)
      compopt -o filenames -o default 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return ;;
    folders)
      compopt -o filenames -o dirnames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return ;;
    stages)
      values=$_couplet_stages
      for file in "$run"/*/stage.json "$run"/*/*/stage.json; do
        [[ -e $file ]] && file=${file#"$run"/} && values+=" ${file%/stage.json}"
      done ;;
    models)
      values=teacher
      for file in "$run"/student/*/stage.json; do
        [[ -e $file ]] && file=${file%/stage.json} && values+=" ${file##*/}"
      done ;;
    commands) values=${!_couplet_flags[*]} ;;
    shells) values=bash ;;
    words) values=${*:2} ;;
  esac
  # Not by compgen -W, which expands what it is given: a folder's name may be a command.
  local word
  read -ra values <<<"$values"
  for word in "${values[@]}"; do
    [[ $word == "$current"* && $word != *[!A-Za-z0-9_./+-]* ]] && COMPREPLY+=("$word")
  done
}

_couplet() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]-}
  local section i word flag= takes= run= arguments=()
  COMPREPLY=()
  ((COMP_CWORD > 1)) || { _couplet_offer_values commands; return; }
  [[ $current == = ]] && current=
  for ((i = 2; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ $word == = ]]; then
      continue  # readline takes --flag=value apart
    elif [[ $word == -* ]]; then
      flag=$word
      for section in $_couplet_named; do
        [[ $word == --$section.*.* ]] && word=--$section.${word##*.}
      done
      takes=${_couplet_takes[$command$word]-${_couplet_takes[$word]-}}
      [[ $takes == switch ]] && flag=
    elif [[ $flag ]]; then
      [[ $flag == --run-dir ]] && run=$word
      [[ $takes == list* ]] || flag=
    else
      arguments+=("$word")
    fi
  done
  run=${run:-${arguments[0]-}}
  run=${run//\\/}  # as the line has it: with backslashes before spaces
  run=${run/#\~/$HOME}
  local kinds=(${_couplet_arguments[$command]-})
  if [[ $current == -* ]]; then
    _couplet_offer_flags
  elif [[ $flag ]]; then
    _couplet_offer_values ${takes#list }
  else
    _couplet_offer_values ${kinds[${#arguments[@]}]-${kinds[0]-}}
  fi
}
complete -F _couplet couplet
)";

/// What completes a value that help calls so: a case of _couplet_offer_values; "" if nothing does.
std::string completed_by(std::string name) {
  std::erase_if(name, [](char c) { return c == '[' || c == ']' || c == '.'; });
  constexpr std::array<std::pair<const char*, const char*>, 10> kinds{{{"DIR", "folders"},
                                                                       {"RUN", "folders"},
                                                                       {"DATASET", "folders"},
                                                                       {"FILE", "files"},
                                                                       {"PATH", "files"},
                                                                       {"SOURCE", "files"},
                                                                       {"OTHER", "files"},
                                                                       {"STAGE", "stages"},
                                                                       {"MODEL", "models"},
                                                                       {"SHELL", "shells"}}};
  for (const auto& [begin, kind] : kinds)
    if (name.starts_with(begin)) return kind;
  return "";
}

std::string completed_by(const Flag& flag) {
  if (flag.value.empty()) return "switch";
  if (!flag.choices.empty()) return fmt::format("words {}", fmt::join(flag.choices, " "));
  return completed_by(flag.value);
}

std::string completed_by(const Option& option) {
  Config config;
  std::string kind = option.is_path ? "files" : "";
  if (!option.allowed.empty()) kind = fmt::format("words {}", fmt::join(option.allowed, " "));
  if (std::holds_alternative<bool*>(option.field(config))) kind = "words true false";
  return option.is_list() ? "list " + kind : kind;
}

/// A variable of the script; of values that are lists of names, none of which means anything to a shell.
std::string variable(const std::string& name, const std::vector<std::string>& words) {
  return fmt::format("_couplet_{}='{}'\n", name, fmt::join(words, " "));
}

std::string table(const std::string& name, const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string text = fmt::format("declare -gA _couplet_{}=(\n", name);
  for (const auto& [key, value] : rows) text += fmt::format("  [{}]='{}'\n", key, value);
  return text + ")\n";
}

std::string bash_script() {
  std::vector<std::pair<std::string, std::string>> flags, arguments, takes;
  std::vector<std::string> keyed, keys, stages;
  std::set<std::string> named;
  for (const Command& command : commands()) {
    const CommandSyntax& syntax = command.syntax;
    if (syntax.takes_keys) keyed.push_back(syntax.name);
    std::vector<std::string> names{"--help"};
    takes.emplace_back(syntax.name + "--help", "switch");
    for (const Flag& flag : syntax.flags) {
      names.push_back("--" + flag.name);
      takes.emplace_back(syntax.name + names.back(), completed_by(flag));
      if (flag.letter) takes.emplace_back(fmt::format("{}-{}", syntax.name, flag.letter), completed_by(flag));
    }
    for (const std::string& key : syntax.further_keys) names.push_back("--" + key);
    flags.emplace_back(syntax.name, fmt::format("{}", fmt::join(names, " ")));
    std::vector<std::string> kinds;
    std::istringstream words(syntax.arguments);
    for (std::string word; words >> word;) kinds.push_back(completed_by(word));
    arguments.emplace_back(syntax.name, fmt::format("{}", fmt::join(kinds, " ")));
  }
  flags.emplace_back("help", "");
  arguments.emplace_back("help", "commands");
  for (const Option& option : options()) {
    keys.push_back("--" + option.key);
    if (const std::string kind = completed_by(option); !kind.empty()) takes.emplace_back(keys.back(), kind);
    if (parse_named_key(fmt::format("{}.NAME.{}", option.section(), option.name()))) named.insert(option.section());
  }
  for (const StageKind& kind : stage_kinds()) stages.push_back(kind.name);
  return "# Bash completion of couplet, printed by `couplet completion bash`.\n" + variable("keys", keys) +
         "# The commands that take them, and the sections in which they can be set for one name.\n" +
         variable("keyed", keyed) + variable("named", {named.begin(), named.end()}) + variable("stages", stages) +
         "# Of each command: its flags, and what its arguments are.\n" + table("flags", flags) +
         table("arguments", arguments) + "# What stands behind a flag of a command, or a key.\n" +
         table("takes", takes) + bash_functions;
}

}  // namespace

int completion_command(const std::vector<std::string>& words) {
  const CommandLine line(completion_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(completion_syntax()));
    return exit_ok;
  }
  if (line.argument() != "bash")
    refuse("couplet completion {}: expected bash, the one shell that there is a script for", line.argument());
  fmt::print("{}", bash_script());
  return exit_ok;
}

}  // namespace couplet
