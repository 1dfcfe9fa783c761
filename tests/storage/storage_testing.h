// What the storage tests share: a folder that goes away, expected errors, files changed on purpose, other programs.
#pragma once

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace couplet::testing {

namespace fs = std::filesystem;

/// A new empty folder, removed at the end of the test.
class Folder {
public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "couplet-storage-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) names.push_back(entry.path().filename().string());
    return names;
  }

private:
  fs::path path_;
};

/// Runs `work`, which must throw Error, and expects each of `parts` in its text.
template <class Work>
void expect_error(Work work, const std::vector<std::string>& parts) {
  try {
    work();
  } catch (const Error& error) {
    for (const auto& part : parts) EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    return;
  }
  ADD_FAILURE() << "no error; expected one about '" << (parts.empty() ? "" : parts.front()) << "'";
}

inline void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct CommandResult {
  int status = -1;
  std::string output;
};

/// Runs a shell command; its output holds stdout and stderr.
inline CommandResult run_command(const std::string& command) {
  CommandResult result;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return result;
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) result.output.append(buffer, n);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

/// Runs a script of Debian's Python in the folder and returns its output, which must not be an error.
inline std::string run_python(const Folder& folder, const std::string& script) {
  write_bytes(folder / "script.py", "import sys, os\nos.chdir(sys.argv[1])\n" + script);
  const auto done = run_command("/usr/bin/python3 " + (folder / "script.py").string() + " " + folder.path().string());
  EXPECT_EQ(done.status, 0) << done.output;
  return done.output;
}

inline bool have_command(const std::string& command) {
  return run_command(command).status == 0;
}

/// From here on no file of this process can grow beyond `bytes`: writes fail as on a full disk.
inline void limit_file_size(std::uint64_t bytes) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) throw std::runtime_error("setrlimit failed");
}

inline void lift_file_size_limit() {
  limit_file_size(RLIM_INFINITY);
}

/// Runs `work` in a child process and returns its wait status. What `work` throws makes exit status 99, with the text
/// in `message_path`.
template <class Work>
int run_in_child(const fs::path& message_path, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    int status = 0;
    try {
      work();
    } catch (const std::exception& error) {
      lift_file_size_limit();
      write_bytes(message_path, error.what());
      status = 99;
    }
    std::_Exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

/// Starts `work` in a child, which must go on for ever, and kills it after `delay_us` microseconds.
template <class Work>
void kill_in_midst(Work work, unsigned delay_us) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      for (;;) work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
    }
    std::_Exit(1);
  }
  ::usleep(delay_us);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
}

}  // namespace couplet::testing
