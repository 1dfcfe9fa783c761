#include "stages/couple/couple.h"

#include "stages/couple/table_makers.h"
#include "storage/error.h"

#include <regex>

namespace couplet {
namespace {

const TableMaker& maker_of(const StageContext& context) {
  return maker_of_table(context.config, context.node.table);
}

const ShardedTable& shards_of(const StageContext& context) {
  const TableMaker& maker = maker_of(context);
  if (maker.shards == nullptr)
    refuse("{} is made by {}, as a whole: its shards cannot be shared among jobs", context.node.name, maker.name);
  return *maker.shards;
}

}  // namespace

ShardRange parse_shard_range(const std::string& text) {
  static const std::regex form("([0-9]{1,9})(?:-([0-9]{1,9}))?");
  std::smatch match;
  const bool matched = std::regex_match(text, match, form);
  const ShardRange range = !matched           ? ShardRange{0, -1}
                           : match[2].matched ? ShardRange{std::stoll(match[1]), std::stoll(match[2])}
                                              : ShardRange{std::stoll(match[1]), std::stoll(match[1])};
  if (range.last < range.first)
    refuse("--couple.shards {}: expected the numbers of the first and the last shard, such as 0-63", text);
  return range;
}

ShardPart parse_shard_part(const std::string& text) {
  static const std::regex form("([0-9]{1,9})/([0-9]{1,9})");
  std::smatch match;
  const bool matched = std::regex_match(text, match, form);
  const ShardPart part = matched ? ShardPart{std::stoll(match[1]), std::stoll(match[2])} : ShardPart{0, 0};
  if (part.part >= part.parts)
    refuse("--couple.part {}: expected the part, counted from 0, and the number of parts, such as 0/8 to 7/8", text);
  return part;
}

bool is_made_in_parts(const Config& config, const StageNode& node) {
  return !node.table.empty() && maker_of_table(config, node.table).shards != nullptr;
}

void couple(StageContext& context) {
  const TableMaker& maker = maker_of(context);
  if (maker.shards != nullptr)
    make_sharded_table(context, *maker.shards);
  else
    maker.make(context);
}

void couple_shards(StageContext& context, const ShardRange& range) {
  make_shard_range(context, shards_of(context), range);
}

void couple_part(StageContext& context, const ShardPart& part) {
  make_shard_part(context, shards_of(context), part);
}

std::vector<std::int64_t> close_coupling(StageContext& context) {
  return close_sharded_table(context, shards_of(context));
}

}  // namespace couplet
