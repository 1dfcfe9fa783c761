#include "pipeline/config/ini_file.h"

#include "storage/error.h"
#include "storage/text.h"

#include <boost/algorithm/string/trim.hpp>
#include <boost/program_options.hpp>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>

namespace couplet {

namespace {

namespace po = boost::program_options;

/// Where a file holds its keys, for messages: the key and text of every line.
struct Line {
  std::string key;  ///< "" for lines that are not `key = value`
  std::string text;
};

/// The file's text, without the mark that editors put in front of UTF-8.
std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::error_code error;
  if (!stream || std::filesystem::is_directory(file, error))
    refuse("cannot read the configuration file {}", file.string());
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    refuse("{} is a text in UTF-16; save it as UTF-8", file.string());
  constexpr std::string_view mark = "\xEF\xBB\xBF";
  return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

/// Refuses a # that the parser would take for a comment and cut a value at, though it stands within a word.
void refuse_cut_values(const std::string& content, const std::filesystem::path& file) {
  std::istringstream stream(content);
  int number = 0;
  for (std::string text; std::getline(stream, text);) {
    ++number;
    const auto comment = text.find('#');
    if (comment == std::string::npos || comment == 0 || text[comment - 1] == ' ' || text[comment - 1] == '\t') continue;
    refuse("{}:{}: \"{}\" has a # within a value, which cannot hold one; a comment needs a space before its #",
           file.string(), number, boost::trim_copy(text));
  }
}

std::vector<Line> lines_of(const std::string& content) {
  std::vector<Line> lines;
  std::istringstream stream(content);
  std::string section;
  for (std::string text; std::getline(stream, text);) {
    text = boost::trim_copy(text.substr(0, text.find('#')));
    std::string key;
    if (text.starts_with('[') && text.ends_with(']'))
      section = boost::trim_copy(text.substr(1, text.size() - 2)) + ".";
    else if (const auto equals = text.find('='); equals != std::string::npos)
      key = section + boost::trim_copy(text.substr(0, equals));
    lines.push_back({key, text});
  }
  return lines;
}

/// "file:12" of the first line that `matches`, after `skip` such lines.
template <class Matches>
std::string place(const std::filesystem::path& file, const std::vector<Line>& lines, Matches matches, int skip = 0) {
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (matches(lines[i]) && skip-- == 0) return fmt::format("{}:{}", file.string(), i + 1);
  return file.string();
}

}  // namespace

std::vector<Setting> read_ini(const std::filesystem::path& file,
                              const std::function<std::string(const std::string& key)>& trouble) {
  const std::string content = read_text(file);
  refuse_cut_values(content, file);
  const std::vector<Line> lines = lines_of(content);

  const po::options_description none;  // which keys there are is the caller's business
  std::vector<Setting> settings;
  std::set<std::string> seen;
  try {
    std::istringstream text(content);
    for (const auto& option : po::parse_config_file(text, none, true).options) {
      const std::string& key = option.string_key;
      const auto has_key = [&](const Line& line) { return line.key == key; };
      if (const std::string why = trouble(key); !why.empty()) refuse("{}: {}", place(file, lines, has_key), why);
      if (!seen.insert(key).second) refuse("{}: {} is set a second time", place(file, lines, has_key, 1), key);
      settings.push_back({key, option.value.empty() ? "" : option.value.front(), place(file, lines, has_key)});
    }
  } catch (const po::invalid_config_file_syntax& error) {
    const auto is_wrong = [](const Line& line) {
      return line.key.empty() && !line.text.empty() && !line.text.starts_with('[');
    };
    refuse("{}: expected [section], key = value or # comment, found \"{}\"", place(file, lines, is_wrong),
           error.tokens());
  }
  return settings;
}

}  // namespace couplet
