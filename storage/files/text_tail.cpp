#include "storage/files/text_tail.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>

namespace couplet {
namespace {

std::uintmax_t size_now(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace

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

double changed_at(const std::filesystem::path& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  if (error) return 0;
  return std::chrono::duration<double>(std::chrono::file_clock::to_sys(time).time_since_epoch()).count();
}

GrowingFile::GrowingFile(std::filesystem::path path, std::size_t bytes) : path_(std::move(path)) {
  const auto size = size_now(path_);
  if (size <= bytes) return;
  read_ = size - bytes;
  skips_ = true;
}

std::vector<std::string> GrowingFile::new_lines() {
  const auto size = size_now(path_);
  if (size < read_) {
    read_ = 0;
    skips_ = false;
    unfinished_.clear();
  }
  std::vector<std::string> lines;
  std::ifstream file(path_, std::ios::binary);
  if (size == read_ || !file.seekg(static_cast<std::streamoff>(read_))) return lines;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  read_ += text.size();
  for (const char letter : text) {
    if (letter != '\n') {
      unfinished_ += letter;
      continue;
    }
    if (!std::exchange(skips_, false)) lines.push_back(unfinished_);
    unfinished_.clear();
  }
  return lines;
}

std::string GrowingFile::unfinished_line() {
  return skips_ ? "" : std::exchange(unfinished_, "");
}

}  // namespace couplet
