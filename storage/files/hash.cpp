#include "storage/files/hash.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <memory>
#include <new>
#include <vector>

// XXH3; where the library offers it, in the variant for the processor it runs on (about four times as fast).
#include <xxhash.h>
#ifdef COUPLET_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

namespace couplet {
namespace {

/// The digest as `xxh128sum` prints it.
std::string hexadecimal(XXH128_hash_t hash) {
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hash128 hash128(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

std::string hash_text(std::string_view text) {
  return hexadecimal(XXH3_128bits(text.data(), text.size()));
}

std::string hash_file(const std::filesystem::path& path) {
  const FileHandle file = FileHandle::open_to_read(path);
  ContentHash hash;
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  std::uint64_t offset = 0;
  while (const std::size_t n = file.read_some(buffer, offset)) {
    hash.add(std::span(buffer).first(n));
    offset += n;
  }
  return hash.text();
}

std::uint64_t hash_bytes(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

BlockHash::BlockHash() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  reset();
}

void BlockHash::reset() {
  XXH3_64bits_reset(state_.get());
}

void BlockHash::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
}

std::uint64_t BlockHash::value() const {
  return XXH3_64bits_digest(state_.get());
}

void BlockHash::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

struct ContentHash::State {
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash{XXH3_createState(), &XXH3_freeState};
};

ContentHash::ContentHash() : state_(std::make_unique<State>()) {
  if (!state_->hash) throw std::bad_alloc();
  XXH3_128bits_reset(state_->hash.get());
}

ContentHash::~ContentHash() = default;

void ContentHash::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->hash.get(), bytes.data(), bytes.size());
}

std::string ContentHash::text() const {
  return hexadecimal(XXH3_128bits_digest(state_->hash.get()));
}

}  // namespace couplet
