#include "storage/files/text_tail.h"

#include <algorithm>
#include <fstream>

namespace couplet {

std::vector<std::string> last_lines(const std::filesystem::path& path, std::size_t bytes) {
  std::ifstream file(path, std::ios::ate | std::ios::binary);
  if (!file) return {};
  const std::streamoff begin = std::max<std::streamoff>(0, file.tellg() - static_cast<std::streamoff>(bytes));
  file.seekg(begin);
  std::vector<std::string> lines;
  std::string line;
  if (begin > 0) std::getline(file, line);  // the rest of one that began earlier
  while (std::getline(file, line)) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace couplet
