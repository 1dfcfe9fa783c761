// Tables of others: their shards. As in the target hdf5, what the HDF5 library crashes on is refused.
#include "storage/tables/row_shard.h"
#include "storage/tables/table_check.h"
#include "tests/fuzz/fuzzed_file.h"
#include "tests/fuzz/hdf5_child.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_rows(const RowShard& shard, std::size_t column) {
  const std::int64_t rows = shard.header().rows;
  const std::size_t row_bytes = shard.columns()[column].row_bytes();
  std::vector<std::byte> all(static_cast<std::size_t>(rows) * row_bytes);
  shard.read(column, 0, rows, all);
  shard.read(column, rows - 1, 1, std::span(all).first(row_bytes));
}

}  // namespace

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] {
    const RowShard shard = open_foreign_shard(file.path(), "");
    for (std::size_t column = 0; column < shard.columns().size(); ++column)
      read_or_refuse([&] { read_rows(shard, column); });
    check_file(file.path(), false, {});
  });
  require_sound_children();
}
