// Who makes coupling tables: one table, which the graph of a run, the stage and its cost ask.
#pragma once

#include "pipeline/config/config.h"
#include "stages/couple/sharded_table.h"

#include <string>
#include <vector>

namespace couplet {

struct TableMaker {
  std::string name;  ///< as RunTable::made_by has it
  std::string what;  ///< for people: "by the teacher's inversion"
  bool needs_teacher = false;
  std::vector<std::string> keys;         ///< of [couple], on which its tables depend; a map's own besides
  const ShardedTable* shards = nullptr;  ///< how it makes a table shard by shard; none: `make` makes the whole
  void (*make)(StageContext& context) = nullptr;
};

const std::vector<TableMaker>& table_makers();
/// The maker of one of the run's tables.
const TableMaker& maker_of_table(const Config& config, const std::string& table);

}  // namespace couplet
