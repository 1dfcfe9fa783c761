#include "storage/parquet/parquet_images.h"

#include "tests/storage/storage_testing.h"

#include <algorithm>
#include <random>
#include <thread>

// The files were written by pyarrow: tests/data/parquet_images.py.

namespace couplet::testing {
namespace {

constexpr std::int64_t file_rows = 60;

fs::path parquet_file(const std::string& name) {
  return fs::path(COUPLET_TEST_DATA) / "parquet" / (name + ".parquet");
}

std::vector<std::byte> image_of(std::int64_t i) {
  std::vector<std::byte> bytes;
  for (std::int64_t j = 0; j < 10 + 37 * i % 200; ++j) bytes.push_back(static_cast<std::byte>((7 * i + 3 * j) % 256));
  return bytes;
}

TEST(ParquetImages, ImagesAndLabelsAreThoseThatWereWritten) {
  for (const char* name : {"snappy", "plain", "gzip_v2", "snappy_v2"}) {
    const ParquetImages images(parquet_file(name));
    EXPECT_EQ(images.rows(), file_rows) << name;
    EXPECT_EQ(images.image_column(), "image.bytes");
    EXPECT_EQ(images.label_column(), "label");
    EXPECT_EQ(images.class_names(), (std::vector<std::string>{"cat", "dog", "fox"}));
    for (std::int64_t i = 0; i < file_rows; ++i) EXPECT_EQ(images.image(i), image_of(i)) << name << " " << i;
    for (std::int64_t i = 0; i < 200; ++i) EXPECT_EQ(images.image(i * 37 % 60), image_of(i * 37 % 60)) << name;
    const std::vector<std::int32_t> labels = images.labels();
    ASSERT_EQ(std::ssize(labels), file_rows);
    for (std::int64_t i = 0; i < file_rows; ++i) EXPECT_EQ(labels[static_cast<std::size_t>(i)], i % 3) << name;
  }
}

TEST(ParquetImages, ImagesThatAreRepeatedStandInADictionary) {
  const ParquetImages images(parquet_file("dictionary"));
  for (std::int64_t i = 0; i < file_rows; ++i) EXPECT_EQ(images.image(i), image_of(i % 4)) << i;
}

TEST(ParquetImages, ColumnsMayBeNamed) {
  const ParquetImages images(parquet_file("unnamed"), {.images = "picture", .labels = "kind"});
  EXPECT_EQ(images.image(59), image_of(59));
  EXPECT_EQ(images.labels().at(5), 2);
  EXPECT_TRUE(images.class_names().empty());
  const ParquetImages alone(parquet_file("snappy"), {.labels = "none"});
  EXPECT_EQ(alone.label_column(), "");
  EXPECT_TRUE(alone.labels().empty());
}

TEST(ParquetImages, SeveralThreadsRead) {
  const ParquetImages images(parquet_file("snappy"));
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 200; ++i) EXPECT_EQ(images.image((i * 7 + t) % 60), image_of((i * 7 + t) % 60));
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(ParquetImages, WhatCannotBeReadIsRefused) {
  const auto open = [](const char* name, ParquetNames names = {}) {
    return [=] { ParquetImages(parquet_file(name), names); };
  };
  expect_error([] { ParquetImages(parquet_file("zstd")).image(0); },
               {"zstd.parquet: column 'image.bytes'", "packed by method 6", "snappy, gzip or none"});
  expect_error([] { ParquetImages(parquet_file("delta")).labels(); }, {"column 'label'", "encoding 5"});
  expect_error([] { ParquetImages(parquet_file("missing")).image(7); }, {"row 7 has no bytes", "paths alone"});
  EXPECT_EQ(ParquetImages(parquet_file("missing")).image(8), image_of(8));
  expect_error([] { ParquetImages(parquet_file("missing")).labels(); }, {"column 'label': row 9 has none"});
  expect_error([] { ParquetImages(parquet_file("negative")).labels(); }, {"the label -1 in row 9", "0 to 2147483647"});
  expect_error([] { ParquetImages(parquet_file("snappy")).image(60); }, {"has no row 60 of 60"});
  expect_error(open("unclear"), {"several of its columns hold images", "a, b.list.element, image, img"});
  expect_error(open("unclear", {.images = "c"}), {"no column of images named 'c'"});
  expect_error(open("unclear", {.images = "a"}), {"column 'a': holds no bytes"});
  expect_error(open("unclear", {.images = "b.list.element"}), {"holds lists"});
  expect_error(open("unclear", {.images = "img", .labels = "a"}), {"column 'a': holds no integers"});
  expect_error(open("unnamed", {.images = "picture.path", .labels = "size"}), {"no column of labels named 'size'"});
}

TEST(ParquetImages, DamageIsAnErrorThatNamesTheFile) {
  const Folder folder;
  const fs::path damaged = folder / "damaged.parquet";
  const auto read_all = [&] {
    const ParquetImages images(damaged);
    for (std::int64_t i = 0; i < images.rows(); ++i) static_cast<void>(images.image(i));
    static_cast<void>(images.labels());
  };
  const std::string whole = read_bytes(parquet_file("snappy"));
  write_bytes(damaged, "PNG");
  expect_error(read_all, {"damaged.parquet: is no Parquet file"});
  write_bytes(damaged, whole.substr(0, whole.size() / 2));
  expect_error(read_all, {"damaged.parquet: does not end as a Parquet file"});
  std::mt19937 draw(1);
  for (const char* name : {"snappy", "gzip_v2", "dictionary"}) {
    const std::string bytes = read_bytes(parquet_file(name));
    for (int i = 0; i < 400; ++i) {
      std::string changed = bytes;
      for (int change = 0; change < 1 + i % 3; ++change) changed[draw() % changed.size()] = static_cast<char>(draw());
      write_bytes(damaged, changed);
      try {
        read_all();
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("damaged.parquet"), std::string::npos) << error.what();
      }
    }
  }
}

TEST(Snappy, CopiesMayOverlap) {
  const auto bytes = [](std::initializer_list<int> values) {
    std::vector<std::byte> out;
    for (const int value : values) out.push_back(static_cast<std::byte>(value));
    return out;
  };
  // "ab", then 6 bytes from 2 back; then a copy of 5 by two bytes of offset.
  EXPECT_EQ(unpack_snappy("x", bytes({8, 4, 'a', 'b', 9, 2}), 8), bytes({'a', 'b', 'a', 'b', 'a', 'b', 'a', 'b'}));
  EXPECT_EQ(unpack_snappy("x", bytes({7, 4, 'a', 'b', 18, 1, 0}), 7), bytes({'a', 'b', 'b', 'b', 'b', 'b', 'b'}));
  expect_error([&] { unpack_snappy("x", bytes({8, 4, 'a', 'b', 9, 3}), 8); }, {"x: is damaged", "copy from beyond"});
  expect_error([&] { unpack_snappy("x", bytes({8, 4, 'a'}), 8); }, {"beyond the page"});
  expect_error([&] { unpack_snappy("x", bytes({2, 4, 'a', 'b', 9, 2}), 2); }, {"copy from beyond"});
  expect_error([&] { unpack_snappy("x", bytes({3, 4, 'a', 'b'}), 3); }, {"ends early"});
  expect_error([&] { unpack_snappy("x", bytes({3, 4, 'a', 'b'}), 4); }, {"two sizes"});
}

}  // namespace
}  // namespace couplet::testing
