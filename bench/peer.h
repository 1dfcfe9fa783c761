// The other side of a benchmark: a Python program around a published implementation, in a process of its own that waits
// between rounds.
#pragma once

#include "storage/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// COUPLET_PEERS, the folder of the peers' checkouts.
inline std::optional<std::string> peers_folder() {
  const char* folder = std::getenv("COUPLET_PEERS");
  return folder != nullptr && *folder != '\0' ? std::optional<std::string>(folder) : std::nullopt;
}

/// The Python that runs a program of bench/.
enum class PeerPython {
  with_torch,  ///< tests/peers/peer_python.py: COUPLET_PYTHON, or the system's with LibTorch's wheel
  systems      ///< the system's own, with its numpy and scipy
};

/// A Python program of bench/ that answers each line it reads with one number.
class PeerProcess {
public:
  /// Runs bench/`script`.
  PeerProcess(const std::string& script, const std::vector<std::string>& arguments,
              PeerPython python = PeerPython::with_torch)
      : name_(script) {
    const std::string source = COUPLET_SOURCE_DIR;
    std::vector<std::string> words{COUPLET_SYSTEM_PYTHON};
    if (python == PeerPython::with_torch)
      words.insert(words.end(), {source + "/tests/peers/peer_python.py", COUPLET_TORCH_WHEEL, COUPLET_C_COMPILER,
                                 COUPLET_BINARY_DIR "/peer_python"});
    words.push_back(source + "/bench/" + script);
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::array<int, 2> in{}, out{};
    if (::pipe(in.data()) != 0 || ::pipe(out.data()) != 0) fail("{}: no pipe", name_);
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      for (const int file : {in[0], in[1], out[0], out[1]}) ::close(file);
      std::vector<char*> list;
      for (auto& word : words) list.push_back(word.data());
      list.push_back(nullptr);
      ::execv(list.front(), list.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = ::fdopen(in[1], "w");
    from_ = ::fdopen(out[0], "r");
  }
  ~PeerProcess() {
    std::fclose(to_);
    std::fclose(from_);
    ::waitpid(process_, nullptr, 0);
  }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  /// Sends a line and waits for its number.
  double ask(const std::string& line) {
    double number = 0;
    fmt::print(to_, "{}\n", line);
    std::fflush(to_);
    if (std::fscanf(from_, "%lf", &number) != 1)
      fail("bench/{} gave no answer to '{}': it needs a python3 with torch (COUPLET_PYTHON), or with scipy", name_,
           line);
    return number;
  }

private:
  std::string name_;
  pid_t process_ = -1;
  std::FILE *to_ = nullptr, *from_ = nullptr;
};

}  // namespace couplet
