#include "storage/files/row_journal.h"

#include "tests/storage/storage_testing.h"

#include <span>
#include <utility>

namespace couplet {
namespace {

using testing::expect_error;
using testing::Folder;
using Others = RowJournal::Others;

/// Rows of two numbers: {r, r²}.
std::vector<std::int64_t> rows_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> rows;
  for (std::int64_t r = first; r < first + count; ++r) rows.insert(rows.end(), {r, r * r});
  return rows;
}

constexpr std::size_t row_bytes = 2 * sizeof(std::int64_t);

RowJournal open(const Folder& folder, const std::string& identity = "squares", Others others = Others::replaced) {
  return {folder / "rows", identity, row_bytes, others};
}

void append(RowJournal& journal, std::int64_t count) {
  const auto rows = rows_from(journal.rows(), count);
  journal.append(std::as_bytes(std::span(rows)));
}

std::vector<std::int64_t> read(const RowJournal& journal, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(2 * count));
  journal.read(first, count, std::as_writable_bytes(std::span(rows)));
  return rows;
}

TEST(RowJournal, KeepsRowsOverBatchesAndOpenings) {
  const Folder folder;
  {
    RowJournal journal = open(folder);
    EXPECT_EQ(journal.rows(), 0);
    for (const std::int64_t count : {3, 1, 4}) append(journal, count);
  }
  RowJournal journal = open(folder);
  EXPECT_EQ(journal.rows(), 8);
  append(journal, 2);
  for (const auto& [first, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, 10}, {2, 1}, {2, 2}, {3, 1}, {1, 8}, {9, 1}, {10, 0}, {0, 0}})
    EXPECT_EQ(read(journal, first, count), rows_from(first, count)) << first << " " << count;
  expect_error([&] { read(journal, 9, 2); }, {"9", "11", "10 rows"});
  journal.remove();
  EXPECT_TRUE(folder.names().empty());
}

TEST(RowJournal, EveryTornEndIsCutOff) {
  const Folder folder;
  std::uintmax_t whole = 0;
  {
    RowJournal journal = open(folder);
    append(journal, 3);
    whole = std::filesystem::file_size(folder / "rows");
    append(journal, 2);
  }
  const std::string bytes = read_file(folder / "rows");
  for (std::uintmax_t length = whole; length < bytes.size(); ++length) {
    testing::write_bytes(folder / "rows", bytes.substr(0, length));
    RowJournal journal = open(folder);
    EXPECT_EQ(journal.rows(), 3) << length;
    append(journal, 2);
    EXPECT_EQ(read(open(folder), 0, 5), rows_from(0, 5)) << length;
  }
}

TEST(RowJournal, ADamagedBatchEndsWhatIsThere) {
  const Folder folder;
  {
    RowJournal journal = open(folder);
    for (const std::int64_t count : {3, 2, 2}) append(journal, count);
  }
  std::string bytes = read_file(folder / "rows");
  bytes[bytes.size() - 3 * row_bytes - 16] ^= 1;  // in the second batch
  testing::write_bytes(folder / "rows", bytes);
  EXPECT_EQ(open(folder).rows(), 3);
}

TEST(RowJournal, OtherRowsAreReplacedOrRefused) {
  const Folder folder;
  {
    RowJournal journal = open(folder);
    append(journal, 3);
  }
  expect_error([&] { open(folder, "cubes", Others::refused); }, {"rows", "other settings"});
  EXPECT_EQ(open(folder, "squares", Others::refused).rows(), 3);
  EXPECT_EQ(open(folder, "cubes").rows(), 0);
  EXPECT_EQ(open(folder).rows(), 0) << "those that were replaced are gone";
  testing::write_bytes(folder / "rows", "no journal");
  expect_error([&] { open(folder, "squares", Others::refused); }, {"another file"});
}

TEST(RowJournal, TakesWholeRowsOnly) {
  const Folder folder;
  RowJournal journal = open(folder);
  const std::vector<std::byte> part(row_bytes + 1);
  expect_error([&] { journal.append(part); }, {"17 bytes", "no whole rows"});
}

}  // namespace
}  // namespace couplet
