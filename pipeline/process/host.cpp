#include "pipeline/process/host.h"

#include "storage/filesystem.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

namespace couplet {
namespace {

std::string contents_of(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

/// The number that follows `name` in lines such as "name number" and "name: number kB".
std::optional<std::int64_t> number_after(const std::string& text, std::string_view name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    std::int64_t number = 0;
    if (words >> word >> number && word == name) return number;
  }
  return std::nullopt;
}

/// The number in a file that holds one; nothing if it holds "max" or is not there.
std::optional<std::int64_t> number_in(const fs::path& path) {
  std::istringstream text(contents_of(path));
  std::int64_t number = 0;
  return text >> number ? std::optional(number) : std::nullopt;
}

/// The names of the files of one version of cgroups.
struct CgroupFiles {
  const char *limit, *usage, *cached_files;
};
constexpr CgroupFiles version_1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};
constexpr CgroupFiles version_2{"memory.max", "memory.current", "inactive_file"};

/// The bytes that one cgroup's limit leaves.
std::optional<std::int64_t> left_in(const fs::path& cgroup, const CgroupFiles& files) {
  const auto limit = number_in(cgroup / files.limit), usage = number_in(cgroup / files.usage);
  if (!limit || !usage) return std::nullopt;
  const std::int64_t cached = number_after(contents_of(cgroup / "memory.stat"), files.cached_files).value_or(0);
  return std::max<std::int64_t>(0, *limit - (*usage - cached));
}

std::optional<std::int64_t> smaller(std::optional<std::int64_t> a, std::optional<std::int64_t> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

/// The least that the limits of a cgroup and of those above it leave. A container often sees its own cgroup as the
/// mounted root, whatever its path is called.
std::optional<std::int64_t> left_up_to(const fs::path& mount, fs::path path, const CgroupFiles& files) {
  std::optional<std::int64_t> least = left_in(mount, files);
  for (path = path.relative_path(); !path.empty(); path = path.parent_path())
    least = smaller(least, left_in(mount / path, files));
  return least;
}

/// The same for the cgroups of this process. Lines of proc/self/cgroup are "0::/path" (version 2) or "7:memory:/path"
/// (version 1).
std::optional<std::int64_t> left_in_cgroups(const fs::path& root) {
  const fs::path mount = root / "sys/fs/cgroup";
  std::optional<std::int64_t> least;
  std::istringstream lines(contents_of(root / "proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path path = line.substr(second + 1);
    if (controllers == ",,") least = smaller(least, left_up_to(mount, path, version_2));
    if (controllers.find(",memory,") != std::string::npos)
      least = smaller(least, left_up_to(mount / "memory", path, version_1));
  }
  return least;
}

}  // namespace

std::int64_t usable_cores() {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) return std::max(1, CPU_COUNT(&allowed));
  return std::max<std::int64_t>(1, std::thread::hardware_concurrency());  // more cores than a cpu_set_t holds
}

std::optional<std::int64_t> available_host_memory(const fs::path& root) {
  std::optional<std::int64_t> available = number_after(contents_of(root / "proc/meminfo"), "MemAvailable:");
  if (available) *available *= 1024;
  return smaller(available, left_in_cgroups(root));
}

std::optional<std::int64_t> available_address_space() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const std::int64_t taken = number_after(contents_of("/proc/self/status"), "VmSize:").value_or(0) * 1024;
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(limit.rlim_cur) - taken);
}

}  // namespace couplet
