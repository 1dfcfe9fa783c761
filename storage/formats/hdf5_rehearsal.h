// A file that the HDF5 library crashes on. It trusts much of what a file says of itself: versions 1.8 to 1.14 crash, or
// go on for ever, on files that are damaged or were crafted to do harm.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace couplet {

/// Work on files that is done in a child process before it is done here. The child is started for the first file, while
/// no other thread works with the library, and again after a crash. Only a file that a
/// new child crashes on is to blame.
class Rehearsal {
public:
  /// `doing`: the work in words, "read the shard's metadata".
  Rehearsal(std::string doing, std::function<void(const std::filesystem::path& file)> work)
      : doing_(std::move(doing)), work_(std::move(work)) {}
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  /// Does the work on a file in the child, and throws away what comes of it, errors too. A file that the child crashes
  /// on is refused, and one that takes it more than 2 seconds of the processor and 5 for each MB of the file: "FILE: is
  /// damaged, or was made to do harm: cannot `doing`, as the HDF5 library crashes (signal 11)". Any thread may call it.
  void try_on(const std::filesystem::path& file);

private:
  bool ask(const std::filesystem::path& file);
  bool is_answered();
  void start(const std::filesystem::path& file);
  int end();

  std::string doing_;
  std::function<void(const std::filesystem::path& file)> work_;
  std::mutex mutex_;
  pid_t child_ = 0;  ///< 0: none
  int socket_ = -1;  ///< to the child
};

/// The same for one file and a piece of work of its own.
void rehearse(const std::filesystem::path& file, std::string_view doing, const std::function<void()>& work);

}  // namespace couplet
