#include "storage/local_process.h"

#include <fmt/format.h>
#include <signal.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>

namespace couplet {

bool process_runs(std::int64_t process) {
  if (process <= 0) return false;
  if (::kill(static_cast<pid_t>(process), 0) != 0) return errno == EPERM;
  // "123 (name) Z ...": its number, its name, which may hold anything, and its state. Z and X have ended.
  std::ifstream stat(fmt::format("/proc/{}/stat", process));
  const std::string line{std::istreambuf_iterator<char>(stat), std::istreambuf_iterator<char>()};
  const std::size_t name_end = line.rfind(") ");
  return name_end == std::string::npos || (line[name_end + 2] != 'Z' && line[name_end + 2] != 'X');
}

}  // namespace couplet
