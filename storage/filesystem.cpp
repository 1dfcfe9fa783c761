#include "storage/filesystem.h"

#include "storage/error.h"
#include "storage/text.h"

#include <fmt/format.h>

namespace couplet {

bool is_there(const fs::path& path) {
  std::error_code error;
  const fs::file_status found = fs::status(path, error);
  if (found.type() == fs::file_type::none)
    refuse("{}: cannot be looked up: {}", utf8_text(path.string()), error.message());
  return fs::exists(found);
}

std::string words_of(const fs::filesystem_error& error) {
  return fmt::format("{}: {}", utf8_text(error.path1().string()), error.code().message());
}

}  // namespace couplet
