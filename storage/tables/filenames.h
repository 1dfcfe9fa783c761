// The names of the files in tables are made and parsed here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace couplet {

inline constexpr char manifest_name[] = "manifest.json";

/// "shard-00042-of-00128.h5": index counted from 0, at least five digits each.
std::string shard_name(std::int64_t index, std::int64_t shards);

struct ShardName {
  std::int64_t index = 0, shards = 0;
};
/// The inverse. Returns nothing for any other text, nor where index >= shards.
std::optional<ShardName> parse_shard_name(std::string_view name);

}  // namespace couplet
