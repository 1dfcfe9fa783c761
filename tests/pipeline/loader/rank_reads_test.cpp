// What each of several ranks reads of a table in a pass, counted by the kernel.
#include "pipeline/loader/row_order.h"
#include "pipeline/loader/row_stream.h"

#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/pipeline/bytes_read.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <cstring>
#include <numeric>
#include <span>

namespace couplet {
namespace {

constexpr char format[] = "couplet-coupling";
constexpr std::int64_t block_rows = 256, window_blocks = 16, window = block_rows * window_blocks;  // the defaults
constexpr ShardPlan plan{8 * window, 8192};
const std::vector<Column> columns{{"noise", ElementType::float16, {1, 28, 28}, ""},
                                  {"image", ElementType::uint8, {1, 28, 28}, ""},
                                  {"label", ElementType::int32, {}, "row number"}};

std::size_t row_bytes() {
  return std::accumulate(columns.begin(), columns.end(), std::size_t{0},
                         [](std::size_t sum, const Column& column) { return sum + column.row_bytes(); });
}

/// Every row's bytes tell its number.
std::vector<std::byte> values_of(const Column& column, std::int64_t row) {
  std::vector<std::byte> bytes(column.row_bytes());
  const auto number = static_cast<std::int32_t>(row);
  for (std::size_t at = 0; at + sizeof number <= bytes.size(); at += sizeof number)
    std::memcpy(bytes.data() + at, &number, sizeof number);
  return bytes;
}

void write_table(const std::filesystem::path& directory) {
  if (ranks().is_root()) {
    for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
      const std::int64_t first = plan.first_row(shard), rows = plan.rows_of(shard);
      RowShardWriter writer(directory / shard_name(shard, plan.shards()),
                            {format, newest_shard_version, first, rows, block_rows, {{"source", "test"}}}, columns);
      for (std::size_t c = 0; c < columns.size(); ++c)
        for (std::int64_t row = 0; row < rows; ++row) writer.write(c, row, values_of(columns[c], first + row));
      writer.finish({});
    }
    publish_manifest(directory, plan, format, nlohmann::json::object());
  }
  ranks().barrier();
}

/// Reads one pass, step by step, and compares the rows with the order of training.
void read_pass(RowStream& stream, RowOrder& order, std::int64_t batch, std::int64_t pass) {
  const std::int64_t mine = batch / ranks().size();
  for (std::int64_t first = pass * plan.rows; first < (pass + 1) * plan.rows; first += batch) {
    const std::int64_t own = first + ranks().rank() * mine;
    const std::vector<at::Tensor> read = stream.read(own, mine, batch);
    const std::vector<std::int64_t> rows = order.at(own, mine);
    ASSERT_TRUE(read.back().equal(at::tensor(rows, at::kLong)));
    ASSERT_TRUE(read[2].equal(at::tensor(rows, at::kLong).to(at::kInt)));
    for (std::size_t c = 0; c < 2; ++c) {
      const std::vector<std::byte> last = values_of(columns[c], rows.back());
      ASSERT_EQ(std::memcmp(static_cast<const std::byte*>(read[c].const_data_ptr()) +
                                static_cast<std::size_t>(mine - 1) * last.size(),
                            last.data(), last.size()),
                0);
    }
  }
}

TEST(RankReads, ARankReadsItsShareOfTheTable) {
  const SharedDirectory directory;
  write_table(directory / "table");
  const double share = static_cast<double>(row_bytes()) * static_cast<double>(plan.rows) / ranks().size();
  for (const std::int64_t batch : {window / 8, window, 4 * window}) {
    const RowTable table(directory / "table", format);
    RowStream stream(table, {"noise", "image", "label"}, window_blocks, 3);
    RowOrder order(plan.rows, block_rows, window_blocks, 3);
    read_pass(stream, order, batch, 0);
    // The stream may be a step further ahead at the end than at the beginning, or less: of several passes that is
    // little.
    constexpr std::int64_t passes = 4;
    const double before = bytes_read();
    for (std::int64_t pass = 1; pass <= passes; ++pass) read_pass(stream, order, batch, pass);
    const double read = (bytes_read() - before) / passes;
    EXPECT_LE(read, 1.2 * share) << "batch " << batch;
    EXPECT_GE(read, 0.8 * share) << "batch " << batch;  // something was counted
    if (ranks().is_root()) fmt::print("{} ranks, batch {}: {:.3f} of a share\n", ranks().size(), batch, read / share);
  }
}

}  // namespace
}  // namespace couplet
