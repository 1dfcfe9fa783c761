#include "storage/files/growing_file.h"

#include <fstream>
#include <iterator>
#include <utility>

namespace couplet {

namespace {

std::uintmax_t size_of(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : size;
}

}  // namespace

GrowingFile::GrowingFile(std::filesystem::path path, std::size_t bytes) : path_(std::move(path)) {
  const auto size = size_of(path_);
  if (size <= bytes) return;
  read_ = size - bytes;
  skips_ = true;
}

std::vector<std::string> GrowingFile::new_lines() {
  const auto size = size_of(path_);
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
