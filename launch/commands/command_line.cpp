#include "launch/commands/command_line.h"

#include "storage/text.h"

#include <boost/program_options.hpp>

#include <fmt/ranges.h>
#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>
#include <sstream>

namespace couplet {

namespace {

namespace po = boost::program_options;

constexpr const char* argument_name = "argument";

/// {"RUN", "[STAGE]"} of "RUN [STAGE]"
std::vector<std::string> argument_names(const CommandSyntax& syntax) {
  std::istringstream text(syntax.arguments);
  return {std::istream_iterator<std::string>(text), {}};
}

bool has_letter(const Flag& flag) {
  return flag.letter != 0;
}

/// The keys of single students among the words: "student.wide.channels" of "--student.wide.channels".
std::set<std::string> student_keys(const std::vector<std::string>& words) {
  std::set<std::string> keys;
  for (const std::string& word : words) {
    if (!word.starts_with("--")) continue;
    const std::string key = word.substr(2, word.find('=') - 2);
    if (parse_named_key(key)) keys.insert(key);
  }
  return keys;
}

po::options_description describe(const CommandSyntax& syntax, const std::vector<std::string>& words) {
  po::options_description known;
  known.add_options()("help", "")(argument_name, po::value<std::string>());
  for (const auto& flag : syntax.flags) {
    const std::string names = has_letter(flag) ? fmt::format("{},{}", flag.name, flag.letter) : flag.name;
    if (flag.value.empty())
      known.add_options()(names.c_str(), flag.help.c_str());
    else
      known.add_options()(names.c_str(), po::value<std::string>(), flag.help.c_str());
  }
  for (const auto& key : syntax.further_keys) known.add_options()(key.c_str(), po::value<std::string>());
  if (!syntax.takes_keys) return known;
  const auto add = [&known](const std::string& key, const Option& option) {
    if (option.is_list())
      known.add_options()(key.c_str(), po::value<std::vector<std::string>>()->multitoken());
    else
      known.add_options()(key.c_str(), po::value<std::string>());
  };
  for (const auto& option : options()) add(option.key, option);
  for (const std::string& key : student_keys(words)) add(key, find_option(key));
  return known;
}

[[noreturn]] void refuse_unknown(const CommandSyntax& syntax, const std::string& name) {
  if (const std::string now = renamed_key(name); syntax.takes_keys && !now.empty())
    refuse("--{} is called --{} now (`couplet config` prints all keys)", name, now);
  std::vector<std::string> candidates{"help"};
  for (const auto& flag : syntax.flags) candidates.push_back(flag.name);
  candidates.insert(candidates.end(), syntax.further_keys.begin(), syntax.further_keys.end());
  if (syntax.takes_keys)
    for (const auto& option : options()) candidates.push_back(option.key);
  refuse("unknown option --{}; the nearest is --{} (couplet {} --help{})", name, nearest_name(name, candidates),
         syntax.name, syntax.takes_keys ? "; `couplet config` prints all keys" : "");
}

std::vector<po::option> split(const CommandSyntax& syntax, const std::vector<std::string>& words) {
  const po::options_description known = describe(syntax, words);
  po::positional_options_description positions;
  const auto names = argument_names(syntax);
  const bool any_number = !names.empty() && names.back().ends_with("...");
  if (!names.empty()) positions.add(argument_name, any_number ? -1 : static_cast<int>(names.size()));
  int style = po::command_line_style::allow_long | po::command_line_style::long_allow_adjacent |
              po::command_line_style::long_allow_next;
  if (std::ranges::any_of(syntax.flags, has_letter))
    style |= po::command_line_style::allow_short | po::command_line_style::allow_dash_for_short |
             po::command_line_style::short_allow_next;
  try {
    return po::command_line_parser(words).options(known).positional(positions).style(style).run().options;
  } catch (const po::unknown_option& error) {
    const std::string name = error.get_option_name();
    refuse_unknown(syntax, name.substr(name.find_first_not_of('-')));
  } catch (const po::too_many_positional_options_error&) {
    refuse("couplet {} takes {}; see couplet {} --help", syntax.name,
           names.empty() ? "flags only" : (names.size() == 1 ? "one " : "") + syntax.arguments, syntax.name);
  } catch (const po::error& error) {
    refuse("{}; see couplet {} --help", error.what(), syntax.name);
  }
}

}  // namespace

CommandLine::CommandLine(const CommandSyntax& syntax, const std::vector<std::string>& words) : command_(syntax.name) {
  for (const auto& option : split(syntax, words)) {
    const std::string& name = option.string_key;
    if (name == argument_name) {
      arguments_.push_back(option.value.front());
      continue;
    }
    const bool again = has(name) || std::ranges::find(settings_, name, &Setting::key) != settings_.end();
    const auto flag = std::ranges::find(syntax.flags, name, &Flag::name);
    if (again && (flag == syntax.flags.end() || !flag->repeated)) refuse("--{} is given twice", name);
    if (flag == syntax.flags.end() && name != "help")
      settings_.push_back({name, fmt::format("{}", fmt::join(option.value, " ")), "command line"});
    else
      flags_[name].push_back(option.value.empty() ? "" : option.value.front());
  }
  const auto names = argument_names(syntax);
  for (std::size_t i = 0; i < names.size() && !help(); ++i)
    if (argument(i).empty() && !names[i].starts_with('['))
      refuse("couplet {} needs {}; see couplet {} --help", syntax.name, names[i], syntax.name);
}

std::string CommandLine::get(const std::string& flag, const std::string& otherwise) const {
  const auto found = flags_.find(flag);
  return found == flags_.end() ? otherwise : found->second.front();
}

std::vector<std::string> CommandLine::all(const std::string& flag) const {
  const auto found = flags_.find(flag);
  return found == flags_.end() ? std::vector<std::string>{} : found->second;
}

std::int64_t CommandLine::integer(const std::string& flag, std::int64_t otherwise, std::int64_t minimum) const {
  if (!has(flag)) return otherwise;
  const std::string text = get(flag);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < minimum)
    refuse("--{} {}: expected a whole number, at least {}", flag, text, minimum);
  return value;
}

double CommandLine::number(const std::string& flag, double otherwise) const {
  if (!has(flag)) return otherwise;
  const std::string text = get(flag);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= -1e9 && value <= 1e9))
    refuse("--{} {}: expected a number", flag, text);
  return value;
}

std::string CommandLine::required(const std::string& flag) const {
  if (!has(flag) || get(flag).empty()) refuse("couplet {} needs --{}; see couplet {} --help", command_, flag, command_);
  return get(flag);
}

void require_absent(const std::filesystem::path& path) {
  std::error_code error;
  const bool exists = std::filesystem::exists(path, error);
  if (error) refuse("{} cannot be written: {}; choose another name", path.string(), error.message());
  if (exists) refuse("{} exists and is not overwritten; remove it or choose another name", path.string());
}

std::filesystem::path new_output(const CommandLine& line, const std::vector<std::string>& endings) {
  const std::filesystem::path output = line.required("output");
  if (std::ranges::find(endings, output.extension().string()) == endings.end())
    refuse("--output {}: the name ends in {}", output.string(), fmt::join(endings, " or "));
  require_absent(output);
  return output;
}

std::string flag_text(const Flag& flag) {
  const std::string letter = has_letter(flag) ? fmt::format("-{}, ", flag.letter) : "";
  return fmt::format("{}--{}{}{}", letter, flag.name, flag.value.empty() ? "" : " ", flag.value);
}

std::vector<Flag> all_flags(const CommandSyntax& syntax) {
  std::vector<Flag> flags = syntax.flags;
  if (syntax.takes_keys) {
    flags.push_back({"section.key", "VALUE", "any key of the configuration; `couplet config` prints them with help"});
    flags.push_back({"student.NAME.key", "VALUE", "a key of [student] for the student NAME alone"});
  }
  flags.push_back({"help", "", "this text"});
  return flags;
}

std::string help_text(const CommandSyntax& syntax) {
  std::string text = fmt::format("couplet {}{}{}: {}\n\n", syntax.name, syntax.arguments.empty() ? "" : " ",
                                 syntax.arguments, syntax.summary);
  for (const Flag& flag : all_flags(syntax)) text += fmt::format("  {:<28} {}\n", flag_text(flag), flag.help);
  if (!syntax.notes.empty()) text += "\n" + syntax.notes;
  text +=
      "\nExit status: 0 done; 1 failed; 2 refused before any work; 75 stopped on request, the same command goes on.\n";
  return text;
}

}  // namespace couplet
