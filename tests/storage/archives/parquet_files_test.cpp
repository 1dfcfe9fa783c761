// Rows of Parquet files as files. The files were written by pyarrow: tests/data/parquet_images.py.
#include "storage/archives/file_set.h"
#include "tests/storage/storage_testing.h"

#include <algorithm>

namespace couplet::testing {
namespace {

fs::path written_by_pyarrow(const std::string& name) {
  return fs::path(COUPLET_TEST_DATA) / "parquet" / (name + ".parquet");
}

std::string text_of(const FileSet& files, const std::string& name) {
  const auto file = files.find(name);
  if (!file) return "no such file";
  const std::vector<std::byte> bytes = files.read(*file);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Byte j of the image of row i is (7 i + 3 j) mod 256.
void expect_image(const FileSet& files, const std::string& name, int i) {
  const std::string bytes = text_of(files, name);
  ASSERT_EQ(std::ssize(bytes), 10 + 37 * i % 200) << name;
  for (std::size_t j = 0; j < bytes.size(); ++j)
    ASSERT_EQ(static_cast<std::uint8_t>(bytes[j]), (7 * i + 3 * static_cast<int>(j)) % 256) << name;
}

void expect_order(const FileSet& files) {
  for (std::int64_t i = 1; i < files.count(); ++i) EXPECT_TRUE(path_less(files.name(i - 1), files.name(i)));
}

TEST(ParquetFiles, RowsOfAFileAreImagesWithLabelsBesideThem) {
  const auto files = open_file_set(written_by_pyarrow("snappy"));
  EXPECT_EQ(files->count(), 120);
  expect_order(*files);
  expect_image(*files, "000000017.image", 17);
  EXPECT_EQ(text_of(*files, "000000017.cls"), "2");
  EXPECT_EQ(files->size(35), static_cast<std::uint64_t>(10 + 37 * 17 % 200));
  EXPECT_EQ(files->shown(35), written_by_pyarrow("snappy").string() + ": row 17");
}

TEST(ParquetFiles, ShardsOfAFolderAreInTheFoldersOfTheirSplits) {
  const Folder folder;
  fs::create_directories(folder / "set/data");
  fs::copy(written_by_pyarrow("plain"), folder / "set/data/train-00000-of-00002.parquet");
  fs::copy(written_by_pyarrow("snappy"), folder / "set/data/train-00001-of-00002.parquet");
  fs::copy(written_by_pyarrow("gzip_v2"), folder / "set/data/test-00000-of-00001.parquet");
  write_bytes(folder / "set/README.md", "notes");
  const auto files = open_file_set(folder / "set");
  EXPECT_EQ(files->count(), 360);
  expect_order(*files);
  expect_image(*files, "train/00001-of-00002-000000059.image", 59);
  expect_image(*files, "test/00000-of-00001-000000003.image", 3);
  EXPECT_EQ(text_of(*files, "train/00000-of-00002-000000004.cls"), "1");
  EXPECT_TRUE(files->has_files_in("train"));
  const std::string stamp = files->stamp();
  fs::copy_file(written_by_pyarrow("snappy"), folder / "set/data/test-00000-of-00001.parquet",
                fs::copy_options::overwrite_existing);
  EXPECT_NE(open_file_set(folder / "set")->stamp(), stamp);
}

TEST(ParquetFiles, OtherNamesKeepTheirFolders) {
  const Folder folder;
  fs::create_directories(folder / "default/train");
  fs::create_directories(folder / "default/test");
  fs::copy(written_by_pyarrow("plain"), folder / "default/train/0000.v2.parquet");
  fs::copy(written_by_pyarrow("snappy"), folder / "default/test/0000.parquet");
  const auto files = open_file_set(folder.path());
  expect_image(*files, "train/0000_v2-000000009.image", 9);
  expect_image(*files, "test/0000-000000009.image", 9);
}

TEST(ParquetFiles, WhatCannotBeReadIsRefusedByName) {
  const Folder folder;
  write_bytes(folder / "a.parquet", "PAR1 and no more than that");
  expect_error([&] { open_file_set(folder / "a.parquet"); }, {"a.parquet", "cut short"});
  expect_error([&] { open_file_set(folder.path()); }, {"a.parquet", "cut short"});
  fs::remove(folder / "a.parquet");
  fs::copy(written_by_pyarrow("plain"), folder / "x.parquet");
  fs::copy(written_by_pyarrow("plain"), folder / "x-0.parquet");
  expect_error([&] { open_file_set(folder.path()); }, {"x-0.parquet goes on that of", "x.parquet", "rename"});
  expect_error([&] { open_file_set(written_by_pyarrow("missing")); }, {"column 'label': row 9 has none"});
}

}  // namespace
}  // namespace couplet::testing
