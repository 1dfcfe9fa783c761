// The rows of a coupling table's shards, computed by the teacher.
#pragma once

#include "method/couplings/coupling_table.h"
#include "method/models/tarflow.h"
#include "pipeline/config/config.h"
#include "pipeline/tensor/random.h"

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>

namespace couplet {

/// One table to make: the images it comes from, what a row number means, how it is split.
struct Inversion {
  const RowTable& images;
  CouplingRows rows;
  Purpose noise_purpose;
  std::filesystem::path directory;
  std::string split;
  nlohmann::json provenance;
  std::int64_t block_rows = 0;
  ShardPlan plan;
  std::vector<Column> columns;
  std::shared_ptr<const Codec> codec;  ///< of the images

  ShardHeader header(std::int64_t shard) const {
    return {coupling_format, newest_shard_version, plan.first_row(shard), plan.rows_of(shard), block_rows, provenance};
  }
};

class ShardOutput;

/// Computes shards, slice by slice; each slice is written, and each shard published, on a thread while the next is
/// computed. Holds two slices, and the rows whose round trip is measured until there are a slice of them.
class Inverter {
public:
  Inverter(const Config& config, TarFlow teacher, c10::Device device);
  ~Inverter();

  /// Computes a shard and starts publishing it. False, publishing nothing, if this process was asked to stop meanwhile.
  /// Rows that come out NaN or infinite are an error that names them, unless couple.allow-nonfinite. An error of the
  /// shard before it may be thrown here.
  bool make(const Inversion& table, std::int64_t shard);
  /// Returns when everything is published.
  void wait();

private:
  const Config& config_;
  TarFlow teacher_;
  c10::Device device_;
  std::unique_ptr<ShardOutput> publishing_;
};

}  // namespace couplet
