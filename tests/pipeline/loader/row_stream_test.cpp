#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/row_order.h"

#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <numeric>
#include <set>
#include <span>

namespace couplet {
namespace {

using Rows = std::vector<std::int64_t>;

struct Sizes {
  std::int64_t rows, block_rows, window_blocks;
};
const std::vector<Sizes> many_sizes = {{100, 8, 3}, {96, 8, 3},  {7, 8, 2},   {100, 8, 100},
                                       {100, 1, 1}, {64, 64, 1}, {101, 10, 4}};

std::int64_t window_end(const RowOrder::Window& window) {
  return window.first_position + static_cast<std::int64_t>(window.rows.size());
}

TEST(RowOrder, EveryEpochVisitsEveryRowOnce) {
  for (const auto& [rows, block_rows, window_blocks] : many_sizes) {
    RowOrder order(rows, block_rows, window_blocks, 5);
    std::set<Rows> epochs;
    for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
      Rows visited = order.at(epoch * rows, rows);
      epochs.insert(visited);
      std::sort(visited.begin(), visited.end());
      Rows all(static_cast<std::size_t>(rows));
      std::iota(all.begin(), all.end(), 0);
      EXPECT_EQ(visited, all) << rows << " rows, epoch " << epoch;
    }
    EXPECT_EQ(epochs.size(), 4U);
  }
}

TEST(RowOrder, WindowsTileTheRun) {
  for (const auto& [rows, block_rows, window_blocks] : many_sizes) {
    RowOrder order(rows, block_rows, window_blocks, 6);
    std::int64_t position = 0;
    while (position < 3 * rows) {
      const auto window = order.window(position);
      ASSERT_EQ(window.first_position, position);
      EXPECT_EQ(window.epoch, position / rows);
      EXPECT_LE(static_cast<std::int64_t>(window.blocks.size()), window_blocks);
      const std::set<std::int64_t> blocks(window.blocks.begin(), window.blocks.end());
      for (const auto row : window.rows) EXPECT_TRUE(blocks.contains(row / block_rows));
      // Entered anywhere, it is the same window.
      for (const auto inside : {position + 1, window_end(window) - 1}) {
        if (inside >= window_end(window)) continue;
        EXPECT_EQ(order.window(inside).rows, window.rows);
        EXPECT_EQ(order.window(inside).first_position, position);
        EXPECT_EQ(order.window(inside).index, window.index);
      }
      position = window_end(window);
    }
    EXPECT_EQ(position, 3 * rows);
  }
}

TEST(RowOrder, IsTheSameHoweverItIsAskedFor) {
  RowOrder whole(100, 8, 3, 5), parts(100, 8, 3, 5), other(100, 8, 3, 6);
  const Rows all = whole.at(0, 350);
  EXPECT_NE(all, other.at(0, 350));
  for (const std::int64_t first : {340, 0, 99, 12, 200, 7}) {
    for (const std::int64_t count : {0, 1, 10}) {
      EXPECT_EQ(parts.at(first, count), Rows(all.begin() + first, all.begin() + first + count)) << first;
    }
  }
}

TEST(RowOrder, ShufflesBlocksAndRows) {
  RowOrder order(1000, 10, 5, 5);
  const Rows rows = order.at(0, 1000);
  std::int64_t ascending = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) ascending += rows[i] == rows[i - 1] + 1;
  EXPECT_LT(ascending, 50);  // one in fifty where 50 rows are shuffled at a time
  EXPECT_FALSE(std::is_sorted(order.window(0).blocks.begin(), order.window(0).blocks.end()));
}

TEST(RowOrder, RefusesWhatHasNoOrder) {
  expect_contains(error_of([] { RowOrder(0, 8, 2, 1); }), "without rows");
  expect_contains(error_of([] { RowOrder(8, 0, 2, 1); }), "blocks of 0 rows");
  expect_contains(error_of([] { RowOrder(8, 8, 0, 1); }), "windows of 0 blocks");
  expect_contains(error_of([] { RowOrder(8, 8, 1, 1).window(-1); }), "position -1");
}

// A table whose values tell their row: pair = [row mod 256, row / 256], value = row / 2.

constexpr char format[] = "couplet-dataset";
const std::vector<Column> columns = {{"pair", ElementType::uint8, {2}, "row number"},
                                     {"value", ElementType::float32, {}, "half the row"}};

std::filesystem::path write_table(const std::filesystem::path& directory, std::int64_t rows, std::int64_t shard_rows,
                                  std::int64_t block_rows) {
  const ShardPlan plan{rows, shard_rows};
  if (ranks().is_root()) {
    for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
      const std::int64_t first = plan.first_row(shard), count = plan.rows_of(shard);
      std::vector<std::uint8_t> pairs;
      std::vector<float> values;
      for (std::int64_t row = first; row < first + count; ++row) {
        pairs.push_back(static_cast<std::uint8_t>(row % 256));
        pairs.push_back(static_cast<std::uint8_t>(row / 256));
        values.push_back(static_cast<float>(row) / 2);
      }
      RowShardWriter writer(directory / shard_name(shard, plan.shards()),
                            {format, 1, first, count, block_rows, {{"source", "test"}}}, columns);
      writer.write(0, 0, std::as_bytes(std::span(pairs)));
      writer.write(1, 0, std::as_bytes(std::span(values)));
      writer.finish({});
    }
    publish_manifest(directory, plan, format, nlohmann::json::object());
  }
  ranks().barrier();
  return directory;
}

void expect_rows(const std::vector<at::Tensor>& read, const Rows& rows) {
  ASSERT_EQ(read.size(), 3U);
  const auto count = static_cast<std::int64_t>(rows.size());
  ASSERT_EQ(read[0].sizes(), (at::IntArrayRef{count, 2}));
  ASSERT_EQ(read[1].sizes(), (at::IntArrayRef{count}));
  ASSERT_EQ(read[2].sizes(), (at::IntArrayRef{count}));
  EXPECT_EQ(read[0].scalar_type(), at::kByte);
  EXPECT_EQ(read[1].scalar_type(), at::kFloat);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = rows[static_cast<std::size_t>(i)];
    EXPECT_EQ(read[2].const_data_ptr<std::int64_t>()[i], row);
    EXPECT_EQ(read[1].const_data_ptr<float>()[i], static_cast<float>(row) / 2);
    EXPECT_EQ(read[0].const_data_ptr<std::uint8_t>()[2 * i] + 256 * read[0].const_data_ptr<std::uint8_t>()[2 * i + 1],
              row);
  }
}

TEST(RowStream, HandsOutTheRowsOfTheOrder) {
  const SharedDirectory directory;
  int number = 0;
  // Shards of whole blocks, shards that end within a block, one window for all, batches larger than a window.
  for (const auto& [shard_rows, block_rows, window_blocks, batch] : std::vector<std::array<std::int64_t, 4>>{
           {160, 16, 5, 12}, {150, 16, 5, 50}, {160, 16, 100, 48}, {400, 16, 1, 100}, {1000, 7, 3, 9}}) {
    const RowTable table(write_table(directory / std::to_string(number++), 401, shard_rows, block_rows), format);
    RowStream stream(table, {"pair", "value"}, window_blocks, 9);
    RowOrder order(401, block_rows, window_blocks, 9);
    for (std::int64_t first = 0; first < 1300; first += batch)
      expect_rows(stream.read(first, batch), order.at(first, batch));
    for (const std::int64_t first : {7, 801, 400, 0, 100000})
      expect_rows(stream.read(first, batch), order.at(first, batch));
    expect_rows(stream.read(3, 0), {});
  }
}

/// Rows may share the memory of their window, which is used again for later windows.
TEST(RowStream, RowsStayAsTheyAreWhileWindowsPass) {
  const SharedDirectory directory;
  for (const std::int64_t window_blocks : {2, 5, 100}) {
    const RowTable table(write_table(directory / std::to_string(window_blocks), 401, 160, 16), format);
    RowStream stream(table, {"pair", "value"}, window_blocks, 9);
    RowOrder order(401, 16, window_blocks, 9);
    std::vector<std::pair<std::int64_t, std::vector<at::Tensor>>> held;
    for (std::int64_t first = 0; first < 900; first += 10) {
      held.emplace_back(first, stream.read(first, 10));
      if (held.size() > 13) held.erase(held.begin(), held.begin() + first % 7);
      for (const auto& [position, rows] : held) expect_rows(rows, order.at(position, 10));
    }
  }
}

TEST(RowStream, ReadsThroughACacheAndWithoutChecks) {
  const SharedDirectory directory;
  const auto path = write_table(directory / "table", 401, 160, 16);
  StorageConfig config{.verify_reads = false, .cache_dir = (directory / "cache").string(), .cache_size = 1};
  const RowTable table(path, format, training_reads(config));
  EXPECT_EQ(table.shard(0)->path().parent_path(), config.cache_dir);
  RowStream stream(table, {"pair", "value"}, 5, 9);
  RowOrder order(401, 16, 5, 9);
  for (std::int64_t first = 0; first < 401; first += 50) expect_rows(stream.read(first, 50), order.at(first, 50));
}

TEST(RowStream, RanksTogetherSeeTheGlobalOrder) {
  const SharedDirectory directory;
  const RowTable table(write_table(directory / "table", 401, 160, 16), format);
  RowStream stream(table, {"value"}, 5, 9);
  RowOrder order(401, 16, 5, 9);
  const std::int64_t batch = 12, rows = batch / ranks().size();
  for (std::int64_t step = 0; step < 80; ++step) {
    const auto mine = stream.read(step * batch + ranks().rank() * rows, rows);
    const at::Tensor all = ranks().all_gather(mine.back()).flatten();
    EXPECT_TRUE(all.equal(at::tensor(order.at(step * batch, batch), at::kLong)));
  }
}

// Two such pieces are in memory. 10a555e kept two whole windows on every rank.
TEST(RowStream, APieceIsWhatACallerAsksForInAWindow) {
  const SharedDirectory directory;
  const RowTable table(write_table(directory / "table", 400, 160, 16), format);
  const auto bytes = [&](std::int64_t first, std::int64_t count, std::int64_t stride) {
    return RowStream(table, {"value"}, 5, 9).read(first, count, stride).front().storage().nbytes();
  };
  EXPECT_EQ(bytes(0, 4, 0), 80 * 4);
  EXPECT_EQ(bytes(2, 2, 16), 10 * 4) << "of each 16 rows the third and fourth";
}

TEST(RowStream, ADamagedBlockIsAnErrorOfTheReadThatNeedsIt) {
  const SharedDirectory directory;
  const auto path = write_table(directory / "table", 64, 64, 16);
  RowOrder order(64, 16, 1, 9);
  // The second window is read on the thread while the first is handed out.
  const std::int64_t bad_block = order.window(16).blocks.at(0);
  const auto file = path / shard_name(0, 1);
  if (ranks().is_root()) {
    std::string bytes = read_file(file);
    std::vector<float> values;
    for (std::int64_t row = bad_block * 16; row < bad_block * 16 + 16; ++row)
      values.push_back(static_cast<float>(row) / 2);
    const std::size_t at =
        bytes.find(std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
    ASSERT_NE(at, std::string::npos);
    bytes[at] ^= 1;
    std::ofstream(file, std::ios::binary) << bytes;
  }
  ranks().barrier();
  const RowTable table(path, format);
  RowStream stream(table, {"value"}, 1, 9);
  EXPECT_NO_THROW(stream.read(0, 16));
  expect_contains(error_of([&] { stream.read(16, 16); }), shard_name(0, 1));
  EXPECT_NE(error_of([&] { stream.read(16, 16); }), "no error");  // and again
  EXPECT_NO_THROW(stream.read(32, 16));
}

TEST(RowStream, AnUnknownColumnIsNamed) {
  const SharedDirectory directory;
  const RowTable table(write_table(directory / "table", 64, 64, 16), format);
  expect_contains(error_of([&] { RowStream(table, {"picture"}, 1, 9); }), "picture");
}

}  // namespace
}  // namespace couplet
