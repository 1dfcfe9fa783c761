#include "pipeline/liveness/node_memory.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>

namespace couplet {

// In memory that is all zeros at first.
struct NodeMemory::Facts {
  std::int64_t turn;  ///< when the last turn was taken, in nanoseconds of the node's steady clock
  std::int64_t end;   ///< 1: the job is to end
  std::int64_t left;  ///< ranks that have come to their end
  std::uint64_t identity;
};

namespace {

constexpr std::size_t places_at = 64;  // facts before, on a cache line of their own

/// A file in memory that exists and is reserved: memory that is short later would end the process that uses it.
int open_memory(const std::string& path, std::size_t size) {
  const int shared = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (shared >= 0 && ::posix_fallocate(shared, 0, static_cast<off_t>(size)) == 0) return shared;
  if (shared >= 0) ::close(shared);
  const int own = ::memfd_create("couplet", MFD_CLOEXEC);
  if (own < 0 || ::ftruncate(own, static_cast<off_t>(size)) != 0)
    fail("there is no memory for what ranks tell of themselves: {}", errno_text(errno));
  return own;
}

std::uint64_t random_number() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32 | device()) | 1;
}

}  // namespace

NodeMemory::NodeMemory(const std::string& name, int places, std::size_t bytes)
    : path_("/dev/shm/" + name), bytes_(bytes), size_(places_at + static_cast<std::size_t>(places) * bytes) {
  const int file = open_memory(path_, size_);
  memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int reason = errno;
  ::close(file);
  if (memory_ == MAP_FAILED)
    fail("the memory for what ranks tell of themselves cannot be used: {}", errno_text(reason));
  // Names of hosts, and numbers of devices and files, differ between containers that share it; what it holds does not.
  std::uint64_t found = 0;
  const std::uint64_t drawn = random_number();
  const bool first = std::atomic_ref(facts().identity).compare_exchange_strong(found, drawn);
  identity_ = fmt::format("{:016x}", first ? drawn : found);
}

NodeMemory::~NodeMemory() {
  remove_name();
  ::munmap(memory_, size_);
}

void NodeMemory::remove_name() const {
  ::unlink(path_.c_str());
}

void NodeMemory::put(int index, const std::string& text) {
  std::memcpy(place(index), text.data(), std::min(text.size(), bytes_));
}

std::string NodeMemory::texts(const std::vector<int>& places) const {
  std::string texts;
  for (const int index : places) texts.append(place(index), bytes_);
  return texts;
}

bool NodeMemory::take_turn(std::chrono::steady_clock::time_point now, double seconds) {
  const std::int64_t time = std::chrono::nanoseconds(now.time_since_epoch()).count();
  const std::atomic_ref<std::int64_t> turn(facts().turn);
  std::int64_t last = turn;
  return (last == 0 || static_cast<double>(time - last) * 1e-9 >= seconds) && turn.compare_exchange_strong(last, time);
}

void NodeMemory::note_end() {
  std::atomic_ref(facts().end) = 1;
}

bool NodeMemory::end_noted() const {
  return std::atomic_ref(facts().end) != 0;
}

int NodeMemory::note_leave() {
  return static_cast<int>(std::atomic_ref(facts().left).fetch_add(1)) + 1;
}

NodeMemory::Facts& NodeMemory::facts() const {
  return *static_cast<Facts*>(memory_);
}

char* NodeMemory::place(int index) const {
  return static_cast<char*>(memory_) + places_at + static_cast<std::size_t>(index) * bytes_;
}

}  // namespace couplet
