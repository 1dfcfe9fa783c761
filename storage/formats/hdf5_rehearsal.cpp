#include "storage/formats/hdf5_rehearsal.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// Of the processor. Deflate's most closely packed megabyte takes some 4 of them.
unsigned seconds_for(const std::filesystem::path& file) {
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(file, error);
  return 2 + 5 * static_cast<unsigned>(std::min<std::uint64_t>(error ? 0 : bytes >> 20, 1'000'000));
}

/// Of all that this process has open, only this descriptor and the standard ones stay.
void close_all_but(int kept) {
  std::vector<int> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error))
    open.push_back(std::atoi(entry.path().filename().c_str()));
  for (const int descriptor : open)
    if (descriptor > STDERR_FILENO && descriptor != kept) ::close(descriptor);
}

/// A crash ends the process without a word, a core or anybody's handler. What the parent has open stays the parent's: a
/// lock that it gives back, or a pipe that it closes.
void prepare_to_crash(int socket) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGPROF, SIGINT, SIGTERM})
    std::signal(signal, SIG_DFL);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  close_all_but(socket);
  const int nowhere = ::open("/dev/null", O_RDWR);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (nowhere >= 0) ::dup2(nowhere, standard);
}

/// From now on so many seconds of the processor, and some more of the clock: a file may lead to one that is waited for
/// without end, such as a pipe.
void allow(unsigned seconds) {
  const itimerval processor{.it_interval = {}, .it_value = {.tv_sec = static_cast<time_t>(seconds), .tv_usec = 0}};
  ::setitimer(ITIMER_PROF, &processor, nullptr);
  ::alarm(seconds == 0 ? 0 : 60 + 10 * seconds);
}

/// The child's life: it works on one file after the other, and ends when nobody is left who could ask.
[[noreturn]] void answer(int socket, const std::function<void(const std::filesystem::path& file)>& work) {
  std::array<char, PATH_MAX> name{};
  for (;;) {
    const ssize_t bytes = ::recv(socket, name.data(), name.size(), 0);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) ::_exit(0);
    const std::filesystem::path file(std::string(name.data(), static_cast<std::size_t>(bytes)));
    allow(seconds_for(file));
    try {
      work(file);
    } catch (...) {  // here, it is thrown again
    }
    allow(0);
    ::send(socket, "", 1, MSG_NOSIGNAL);
  }
}

/// What became of the child, in words.
std::string end_text(int status, unsigned seconds) {
  if (!WIFSIGNALED(status)) return fmt::format("ends the process with status {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  if (signal != SIGALRM && signal != SIGPROF && signal != SIGKILL) return fmt::format("crashes (signal {})", signal);
  return fmt::format("comes to no end within {} s", seconds);
}

}  // namespace

Rehearsal::~Rehearsal() {
  if (child_ == 0) return;
  ::kill(child_, SIGKILL);
  end();
}

void Rehearsal::start(const std::filesystem::path& file) {
  const auto require = [&](bool done) {
    if (!done) fail("{}: cannot be tried in a process of its own: {}", file.string(), errno_text(errno));
  };
  std::array<int, 2> sockets{};
  require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) == 0);
  // Beyond the standard ones, also where this process was started without those.
  const int theirs = ::fcntl(sockets[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int reason = errno;
  ::close(sockets[1]);
  errno = reason;
  child_ = theirs < 0 ? -1 : ::fork();
  if (child_ == 0) {
    prepare_to_crash(theirs);
    answer(theirs, work_);
  }
  if (child_ < 0) {
    child_ = 0;
    const int failed = errno;
    for (const int socket : {sockets[0], theirs}) ::close(socket);
    errno = failed;
    require(false);
  }
  ::close(theirs);
  socket_ = sockets[0];
}

/// Returns how the child ended: it has crashed, or was killed.
int Rehearsal::end() {
  ::close(socket_);
  int status = 0;
  while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
  }
  child_ = 0;
  return status;
}

/// Returns false where the child has ended.
bool Rehearsal::ask(const std::filesystem::path& file) {
  const std::string& name = file.native();
  return ::send(socket_, name.data(), name.size(), MSG_NOSIGNAL) >= 0;
}

/// The same, while it works.
bool Rehearsal::is_answered() {
  char answered = 0;
  ssize_t bytes = 0;
  do bytes = ::recv(socket_, &answered, 1, 0);
  while (bytes < 0 && errno == EINTR);
  return bytes == 1;
}

void Rehearsal::try_on(const std::filesystem::path& file) {
  const std::lock_guard lock(mutex_);
  const bool is_new = child_ == 0;
  if (is_new) start(file);
  if (ask(file) && is_answered()) return;
  int status = end();
  if (!is_new) {  // it may have crashed on what an earlier file left behind
    start(file);
    if (ask(file) && is_answered()) return;
    status = end();
  }
  refuse("{}: is damaged, or was made to do harm: cannot {}, as the HDF5 library {}", file.string(), doing_,
         end_text(status, seconds_for(file)));
}

void rehearse(const std::filesystem::path& file, std::string_view doing, const std::function<void()>& work) {
  Rehearsal(std::string(doing), [&](const std::filesystem::path&) { work(); }).try_on(file);
}

}  // namespace couplet
