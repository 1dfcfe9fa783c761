// Coupling tables that are made shard by shard, of every image of the data set or of every row of another table, by any
// number of ranks and jobs.
#pragma once

#include "method/data/dataset.h"
#include "method/tables/coupling_table.h"
#include "pipeline/config/config.h"
#include "pipeline/run/stage_context.h"
#include "storage/tables/row_table.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// One split of a table to make: the rows it is of, what a row number means, how it is split.
struct TableSplit {
  const RowTable& images;  ///< the data set's, or those of the table whose noise is mapped, row by row
  CouplingRows rows;       ///< of images of the data set
  std::filesystem::path directory;
  std::string split;  ///< "train" or "test"
  nlohmann::json provenance;
  std::int64_t block_rows = 0;
  ShardPlan plan;
  std::vector<Column> columns;
  std::shared_ptr<const Codec> codec;  ///< of the images

  bool is_training() const { return split == "train"; }
  ShardHeader header(std::int64_t shard) const {
    return {coupling_format, newest_shard_version, plan.first_row(shard), plan.rows_of(shard), block_rows, provenance};
  }
};

/// Computes shards; each is published on a thread while the next is computed.
class ShardMaker {
public:
  virtual ~ShardMaker() = default;
  /// Computes a shard and starts publishing it, with sums over its rows as its summary. False, publishing nothing, if
  /// this process was asked to stop meanwhile. Rows that come out NaN or infinite are an error that names them. An
  /// error of the shard before it may be thrown here.
  virtual bool make(const TableSplit& table, std::int64_t shard) = 0;
  /// Returns when everything is published.
  virtual void wait() = 0;
};

/// A way of filling such tables.
struct ShardedTable {
  /// What the rows are made from and how, beyond the data set: part of every shard's provenance. Collective over the
  /// communicator that is given.
  nlohmann::json (*made_from)(const StageContext& context, Communicator& communicator);
  std::vector<Column> (*columns)(const DatasetShape& shape, const CoupleConfig& config);
  /// Collective.
  std::unique_ptr<ShardMaker> (*open)(const StageContext& context, const DatasetShape& shape);
  /// The columns of a table that is made of another's rows (RunTable::base), given that one's. It has the other's
  /// splits and shards. Absent: tables are made of the data set.
  std::vector<Column> (*mapped_columns)(const std::vector<Column>& base, const CoupleConfig& config) = nullptr;
};

/// Shards of both splits counted through: those of the training images, then those of the held-out ones.
struct ShardRange {
  std::int64_t first = 0, last = 0;
};

/// One of several equal parts of all shards, whose number need not be known yet.
struct ShardPart {
  std::int64_t part = 0, parts = 1;
};

/// Publishes RUN/coupling/NAME/train (training images) and RUN/coupling/NAME/test (held-out ones, where there are).
/// Rows are computed in fixed slices aligned to their shard's start, the last one padded, so shards are byte-equal for
/// any number of ranks and interruptions. σ_f is finished from the shards' sums and stands in the manifest's summary.
/// Collective.
void make_sharded_table(StageContext& context, const ShardedTable& kind);
/// The missing shards of `range` only, and no manifest: one of several jobs on the same directory. Jobs whose ranges
/// overlap do work twice and no harm. Collective.
void make_shard_range(StageContext& context, const ShardedTable& kind, const ShardRange& range);
/// The same for a part; with more parts than shards, some have nothing to make.
void make_shard_part(StageContext& context, const ShardedTable& kind, const ShardPart& part);
/// The shards, counted through, whose files are not there: two lists of names, and no shard is opened. For one rank.
std::vector<std::int64_t> absent_shards(const StageContext& context);
/// Publishes both manifests once every shard is there, and returns nothing; else the missing shards, counted through.
/// For one rank, which owns the stage.
std::vector<std::int64_t> close_sharded_table(StageContext& context, const ShardedTable& kind);

}  // namespace couplet
