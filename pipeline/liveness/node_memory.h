// Memory that the ranks of one node share, in which each says what it does and one learns for all what other nodes say.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// A place for a text of each rank, and some facts of the node. Any rank may be killed at any moment: the others go on.
class NodeMemory {
public:
  /// Opens the node's memory of this name, or makes it, with a place of `bytes` for each of `places` texts. Where there
  /// is none to share (/dev/shm is missing or full), it is this process's own.
  NodeMemory(const std::string& name, int places, std::size_t bytes);
  ~NodeMemory();
  NodeMemory(const NodeMemory&) = delete;
  NodeMemory& operator=(const NodeMemory&) = delete;

  /// Processes share their memory exactly if these are equal, on whatever hosts or in whatever containers they are.
  const std::string& identity() const { return identity_; }
  /// When all have opened it: nothing is left of it when the last of them has ended, however that ends. The destructor
  /// does it, too, for where not all came to open it.
  void remove_name() const;

  void put(int place, const std::string& text);
  /// The texts at these places, one behind the other. One that is put at this moment may come in parts.
  std::string texts(const std::vector<int>& places) const;

  /// Returns true to one of the ranks every `seconds`: to whichever asks first.
  bool take_turn(std::chrono::steady_clock::time_point now, double seconds);
  /// That the job is to end.
  void note_end();
  bool end_noted() const;
  /// That a rank has come to its end. Returns how many have, with it.
  int note_leave();

private:
  struct Facts;
  Facts& facts() const;
  char* place(int index) const;

  std::string path_, identity_;
  std::size_t bytes_, size_;
  void* memory_ = nullptr;
};

}  // namespace couplet
