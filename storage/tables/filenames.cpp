#include "storage/tables/filenames.h"

#include <fmt/format.h>

#include <charconv>

namespace couplet {

std::string shard_name(std::int64_t index, std::int64_t shards) {
  return fmt::format("shard-{:05d}-of-{:05d}.h5", index, shards);
}

std::optional<ShardName> parse_shard_name(std::string_view name) {
  constexpr std::string_view prefix = "shard-", middle = "-of-";
  if (!name.starts_with(prefix)) return std::nullopt;
  const std::size_t split = name.find(middle);
  if (split == std::string_view::npos) return std::nullopt;
  ShardName parsed;
  std::from_chars(name.data() + prefix.size(), name.data() + split, parsed.index);
  std::from_chars(name.data() + split + middle.size(), name.data() + name.size(), parsed.shards);
  // Exactly the text that shard_name makes, so that one shard has one name.
  if (parsed.index < 0 || parsed.index >= parsed.shards || shard_name(parsed.index, parsed.shards) != name)
    return std::nullopt;
  return parsed;
}

}  // namespace couplet
