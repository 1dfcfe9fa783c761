// Tables of others: their shards.
#include "storage/tables/row_shard.h"
#include "storage/tables/shard_scan.h"
#include "tests/fuzz/fuzzed_file.h"
#include "tests/fuzz/hdf5_checksums.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_rows(const RowShard& shard, std::size_t column) {
  const std::int64_t rows = shard.header().rows;
  std::vector<std::byte> all(static_cast<std::size_t>(rows) * shard.columns()[column].row_bytes());
  shard.read(column, 0, rows, all);
  shard.read(column, rows - 1, 1, std::span(all).first(shard.columns()[column].row_bytes()));
}

}  // namespace

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  for (const bool verify : {true, false}) {
    read_or_refuse([&] {
      const RowShard shard(file.path(), "", verify);
      for (std::size_t column = 0; column < shard.columns().size(); ++column)
        read_or_refuse([&] { read_rows(shard, column); });
      if (verify) scan_shard(shard);
    });
  }
}
