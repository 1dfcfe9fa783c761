// Names and numbers of the row shard format that its reader and writer share. docs/row-shards.md specifies them.
#pragma once

#include "storage/row_shard.h"
#include "storage/xxh3.h"

#include <cstdint>
#include <memory>
#include <new>

namespace couplet {

/// The newest format version this program writes and reads.
inline constexpr int newest_shard_version = 1;
inline constexpr const char* checksum_group = "checksums";

inline std::int64_t block_count(const ShardHeader& header) {
  return (header.rows + header.block_rows - 1) / header.block_rows;
}

/// XXH3-64 of bytes that come in pieces.
class BlockHash {
public:
  BlockHash() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    reset();
  }
  void reset() { XXH3_64bits_reset(state_.get()); }
  void add(std::span<const std::byte> bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }
  std::uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace couplet
