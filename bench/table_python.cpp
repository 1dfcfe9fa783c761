// The loader of the Python package couplet-table on a table of 3x64x64 float16 noise and uint8 images, in a warm cache:
// rows a second of shuffled batches of 256 rows (noise, image, label), every byte looked at, checksums verified (by the
// system's libxxhash, as the program does).
//   table_python_h5py     against single rows in shuffled order by h5py, which verifies nothing
//   table_python_program  against this program's loader, in the same order
#include "bench/comparison.h"
#include "bench/peer.h"
#include "bench/shards.h"
#include "pipeline/loader/row_stream.h"

#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr ShardPlan plan{8192, 4096};
constexpr std::int64_t size = 64, batch = 256, window_blocks = 8;
constexpr int rounds = 7;

void run() {
  const BenchDirectory folder;
  write_bench_table(folder / "table", plan, size);
  PeerProcess peer("table_reader.py", {(folder / "table").string()}, PeerPython::systems);
  const RowTable table(folder / "table", coupling_format);
  RowStream stream(table, {"noise", "image", "label"}, window_blocks, 1);
  std::int64_t position = 0;
  const auto read_epoch = [&] {
    std::uint64_t sum = 0;
    for (const std::int64_t end = position + plan.rows; position < end; position += batch)
      for (const at::Tensor& column : stream.read(position, batch))
        sum += sum_bytes(column.const_data_ptr(), column.nbytes());
    if (sum == 0) fail("nothing was read");
  };
  RatePairs against_h5py, against_program;
  for (int round = 0; round <= rounds; ++round) {
    constexpr double rows = plan.rows;
    const double package = rows / peer.ask("package"), h5py = rows / peer.ask("h5py");
    const double program = rows / seconds_of(read_epoch);
    if (round == 0) continue;
    against_h5py.add(package, h5py);
    against_program.add(package, program);
  }
  against_h5py.print("table_python_h5py", "rows/s");
  against_program.print("table_python_program", "rows/s");
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
