// Rows of a table by their numbers.
#include "pipeline/loader/table_rows.h"

#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/table_manifest.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <fstream>
#include <iterator>
#include <span>
#include <vector>

namespace couplet {
namespace {

constexpr char format[] = "couplet-dataset";
constexpr std::int64_t rows = 100, shard_rows = 40, block_rows = 8;

/// Row r holds four times 1000 + r.
void write_table(const std::filesystem::path& directory) {
  const ShardPlan plan{rows, shard_rows};
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
    const std::int64_t first = plan.first_row(shard), count = plan.rows_of(shard);
    std::vector<float> values;
    for (std::int64_t row = first; row < first + count; ++row)
      values.insert(values.end(), 4, static_cast<float>(1000 + row));
    RowShardWriter writer(directory / shard_name(shard, plan.shards()),
                          {format, 1, first, count, block_rows, {{"source", "test"}}},
                          {{"value", ElementType::float32, {4}, "1000 and the row"}});
    writer.write(0, 0, std::as_bytes(std::span(values)));
    writer.finish({});
  }
  publish_manifest(directory, plan, format, nlohmann::json::object());
}

at::Tensor expected(const std::vector<std::int64_t>& numbers) {
  return (at::tensor(numbers, at::kLong) + 1000).to(at::kFloat).unsqueeze(1).expand({-1, 4});
}

TEST(TableRows, AreThoseOfTheNumbers) {
  const SharedDirectory directory;
  write_table(directory / "table");
  const RowTable table(directory / "table", format);
  for (const std::vector<std::int64_t>& numbers :
       {std::vector<std::int64_t>{0}, {99, 99, 99}, {0, 1, 2, 3}, {7, 8, 39, 40, 41, 80}, {3, 3, 50, 98, 99}})
    EXPECT_TRUE(read_numbered_rows(table, "value", numbers).equal(expected(numbers))) << numbers.front();
}

// 10a555e read everything from the first row to the last.
TEST(TableRows, OfOtherBlocksAreNotRead) {
  const SharedDirectory directory;
  write_table(directory / "table");
  const auto shard = directory / "table" / shard_name(1, 3);
  std::fstream file(shard, std::ios::binary | std::ios::in | std::ios::out);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  const float damaged = 1060;  // row 20 of shard 1, in its block of rows 56 to 63
  const auto at = bytes.find(std::string(reinterpret_cast<const char*>(&damaged), sizeof damaged));
  ASSERT_NE(at, std::string::npos);
  file.clear();
  file.seekp(static_cast<std::streamoff>(at));
  file.put('\x7f');
  file.close();
  const RowTable table(directory / "table", format);
  const std::vector<std::int64_t> around{3, 55, 64, 90};
  EXPECT_TRUE(read_numbered_rows(table, "value", around).equal(expected(around)));
  EXPECT_NE(error_of([&] { read_numbered_rows(table, "value", {3, 57}); }), "no error") << "its checksum covers row 57";
}

}  // namespace
}  // namespace couplet
