// Content hashes: XXH3, written as lower-case hexadecimal.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace couplet {

/// The 64-bit XXH3 of the bytes, by which blocks of rows are checked and batches told apart.
std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
/// A 128-bit XXH3, by which rows of equal bytes are found.
struct Hash128 {
  std::uint64_t high = 0, low = 0;
  auto operator<=>(const Hash128&) const = default;
};
Hash128 hash128(std::span<const std::byte> bytes);
/// The 128-bit XXH3 as 32 hexadecimal digits, for fingerprints and contents.
std::string hash_text(std::string_view text);
std::string hash_file(const std::filesystem::path& path);

/// The 64-bit hash of bytes that lie together, as BlockHash gives it.
std::uint64_t hash_bytes(std::span<const std::byte> bytes);

/// The 64-bit hash of bytes that come in pieces.
class BlockHash {
public:
  BlockHash();
  void reset();
  void add(std::span<const std::byte> bytes);
  /// The hash of all bytes since the last reset.
  std::uint64_t value() const;

private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

/// The 128-bit hash of bytes that come in pieces.
class ContentHash {
public:
  ContentHash();
  ~ContentHash();
  void add(std::span<const std::byte> bytes);
  /// The hash of all bytes so far.
  std::string text() const;

private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace couplet
