#include "storage/tables/shard_space.h"

#include "storage/tables/filenames.h"
#include "tests/storage/storage_testing.h"

#include <sys/statvfs.h>

namespace couplet::testing {
namespace {

TEST(ShardSpace, IsThatOfShardsThatAreNotThere) {
  const Folder folder;
  struct statvfs status {};
  ASSERT_EQ(::statvfs(folder.path().c_str(), &status), 0);
  // Rows of a megabyte, in two shards, each of two thirds of what is free.
  const std::vector<Column> columns{{"image", ElementType::uint8, {1 << 20}, "bytes"}};
  const auto free_rows = static_cast<std::int64_t>(status.f_bavail * status.f_frsize >> 20);
  const ShardPlan plan{free_rows / 3 * 4, free_rows / 3 * 2};
  ASSERT_EQ(plan.shards(), 2);
  expect_error([&] { require_space_for_shards(folder.path(), plan, columns, "the table"); },
               {folder.path().string(), "the table needs", "free some or choose another disk"});
  write_bytes(folder / shard_name(0, 2), "there");
  require_space_for_shards(folder.path(), plan, columns, "the table");
}

}  // namespace
}  // namespace couplet::testing
