#include "storage/formats/hdf5_rehearsal.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace couplet {
namespace {

/// Of the processor. Deflate's most closely packed megabyte takes some 4 of them.
unsigned seconds_for(const std::filesystem::path& file) {
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(file, error);
  return 2 + 5 * static_cast<unsigned>(std::min<std::uint64_t>(error ? 0 : bytes >> 20, 1'000'000));
}

/// A crash ends the process without a word, a core or anybody's handler. A file may also lead to one that is waited for
/// without end, such as a pipe.
void prepare_to_crash(unsigned seconds) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGXCPU, SIGINT, SIGTERM})
    std::signal(signal, SIG_DFL);
  const rlimit none{0, 0}, most{seconds, seconds + 1};
  ::setrlimit(RLIMIT_CORE, &none);
  ::setrlimit(RLIMIT_CPU, &most);
  if (const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
  ::alarm(60 + 10 * seconds);
}

/// What became of the child, in words.
std::string end_text(int status, unsigned seconds) {
  if (!WIFSIGNALED(status)) return fmt::format("ends the process with status {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  if (signal != SIGALRM && signal != SIGXCPU && signal != SIGKILL) return fmt::format("crashes (signal {})", signal);
  return fmt::format("comes to no end within {} s", seconds);
}

int status_of(pid_t child, const std::filesystem::path& file) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail("{}: cannot be tried in a process of its own: {}", file.string(), errno_text(errno));
  return status;
}

}  // namespace

void rehearse(const std::filesystem::path& file, std::string_view doing, const std::function<void()>& work) {
  const unsigned seconds = seconds_for(file);
  const pid_t child = ::fork();
  if (child < 0) fail("{}: cannot be tried in a process of its own: {}", file.string(), errno_text(errno));
  if (child == 0) {
    prepare_to_crash(seconds);
    try {
      work();
    } catch (...) {  // here, it is thrown again
    }
    ::_exit(0);
  }
  const int status = status_of(child, file);
  if (status == 0) return;
  refuse("{}: is damaged, or was made to do harm: cannot {}, as the HDF5 library {}", file.string(), doing,
         end_text(status, seconds));
}

}  // namespace couplet
