#include "storage/formats/idx.h"

#include "tests/storage/storage_testing.h"

#include <zlib.h>

#include <numeric>

namespace couplet::testing {
namespace {

std::string idx_bytes(std::uint8_t type, const std::vector<std::uint32_t>& shape, std::size_t values) {
  std::string bytes{'\0', '\0', static_cast<char>(type), static_cast<char>(shape.size())};
  for (const std::uint32_t extent : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(extent >> shift);
  }
  for (std::size_t i = 0; i < values; ++i) bytes += static_cast<char>(i % 251);
  return bytes;
}

void write_gzip(const fs::path& path, const std::string& bytes, const char* mode = "wb") {
  gzFile file = gzopen(path.c_str(), mode);
  ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), static_cast<int>(bytes.size()));
  gzclose(file);
}

std::vector<std::uint8_t> read_idx(const fs::path& path) {
  return IdxFile(path).read_all();
}

void expect_values(const fs::path& path, const std::vector<std::int64_t>& shape, std::size_t values) {
  EXPECT_EQ(IdxFile(path).shape(), shape);
  const std::vector<std::uint8_t> found = read_idx(path);
  ASSERT_EQ(found.size(), values);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values; ++i) wrong += found[i] != i % 251;
  EXPECT_EQ(wrong, 0u);
}

TEST(Idx, ReadsPlainAndGzipByContent) {
  const Folder folder;
  write_bytes(folder / "plain.gz", idx_bytes(8, {300, 28, 28}, 235'200));
  expect_values(folder / "plain.gz", {300, 28, 28}, 235'200);
  write_gzip(folder / "packed", idx_bytes(8, {300, 28, 28}, 235'200));
  expect_values(folder / "packed", {300, 28, 28}, 235'200);
  write_bytes(folder / "labels", idx_bytes(8, {10}, 10));
  expect_values(folder / "labels", {10}, 10);
  write_bytes(folder / "none", idx_bytes(8, {0, 28}, 0));
  expect_values(folder / "none", {0, 28}, 0);
}

TEST(Idx, SizesAreMultiplesOfBuffers) {
  const Folder folder;
  for (const std::uint32_t values : {(1u << 18) - 8, (1u << 18) - 7, 1u << 18, 1u << 20}) {
    write_gzip(folder / "a", idx_bytes(8, {values}, values), "wb0");
    expect_values(folder / "a", {values}, values);
  }
}

TEST(Idx, MembersOfAGzipFileAreJoined) {
  const Folder folder;
  const std::string bytes = idx_bytes(8, {1000}, 1000);
  write_gzip(folder / "a", bytes.substr(0, 500));
  write_gzip(folder / "a", bytes.substr(500), "ab");
  expect_values(folder / "a", {1000}, 1000);
}

TEST(Idx, ZerosAfterAGzipMemberArePadding) {
  const Folder folder;
  const std::string bytes = idx_bytes(8, {1000}, 1000);
  write_gzip(folder / "first", bytes.substr(0, 500));
  write_gzip(folder / "second", bytes.substr(500));
  const std::string first = read_bytes(folder / "first"), second = read_bytes(folder / "second");
  for (const std::size_t zeros : {1u, 512u, (1u << 18) - 40u, 1u << 18, 1'000'000u}) {
    const std::string padding(zeros, '\0');
    write_bytes(folder / "a", first + padding + second + padding);
    expect_values(folder / "a", {1000}, 1000);
    EXPECT_NO_THROW(IdxFile(folder / "a").require_whole());
    write_bytes(folder / "a", first + second + padding + "x");
    expect_error([&] { read_idx(folder / "a"); }, {"/a", "gzip"});
  }
}

TEST(Idx, WhatFollowsTheLastItemIsNotAllInflated) {
  const Folder folder;
  write_gzip(folder / "a", idx_bytes(8, {10, 4}, 40) + std::string(50'000'000, '\0'));
  const std::vector<std::string> parts{"/a", "trailing", "262184 bytes of values or more", "expected 40"};
  expect_error([&] { read_idx(folder / "a"); }, parts);
  expect_error([&] { IdxFile(folder / "a").require_whole(); }, parts);
}

TEST(Idx, WrongFilesAreErrorsWithSizes) {
  const Folder folder;
  const auto expect = [&](const std::string& bytes, const std::vector<std::string>& parts) {
    write_bytes(folder / "a", bytes);
    expect_error([&] { read_idx(folder / "a"); }, parts);
  };
  const std::string whole = idx_bytes(8, {10, 4}, 40);
  expect(whole.substr(0, 50), {"/a", "truncated", "38 bytes", "expected 40", "[10, 4]"});
  expect(whole + "xy", {"trailing", "42 bytes", "expected 40"});
  expect(whole.substr(0, 9), {"truncated", "9 bytes", "header of 12"});
  expect("", {"no IDX file", "0 bytes"});
  expect("hello world", {"no IDX file", "68656c6c"});
  expect(idx_bytes(0x0d, {10}, 40), {"type 0x0d", "unsigned bytes"});
  expect(idx_bytes(8, {~0u, ~0u, ~0u}, 0), {"impossibly large"});
  expect_error([&] { read_idx(folder / "none"); }, {"none", "No such file"});
}

TEST(Idx, DamagedGzipIsAnError) {
  const Folder folder;
  write_gzip(folder / "whole", idx_bytes(8, {100'000}, 100'000));
  const std::string whole = read_bytes(folder / "whole");
  for (const std::size_t size : {std::size_t{3}, std::size_t{12}, whole.size() / 2, whole.size() - 1}) {
    write_bytes(folder / "a", whole.substr(0, size));
    expect_error([&] { read_idx(folder / "a"); }, {"/a", "truncated gzip"});
  }
  write_bytes(folder / "a", whole + "trailing");
  expect_error([&] { read_idx(folder / "a"); }, {"/a", "damaged gzip"});
  std::string flipped = whole;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 4);
  write_bytes(folder / "a", flipped);
  expect_error([&] { read_idx(folder / "a"); }, {"/a", "gzip"});
}

/// Items of 784 bytes: item i holds (784 i + j) % 251.
void expect_items(IdxFile& file, std::int64_t first, std::int64_t count) {
  std::vector<std::uint8_t> values(static_cast<std::size_t>(count) * file.item_bytes());
  file.read(first, count, values);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    wrong += values[i] != (static_cast<std::size_t>(first) * file.item_bytes() + i) % 251;
  EXPECT_EQ(wrong, 0u) << "items " << first << " to " << first + count;
}

TEST(Idx, ItemsAreReadInAnyOrder) {
  const Folder folder;
  write_bytes(folder / "plain", idx_bytes(8, {1000, 28, 28}, 784'000));
  write_gzip(folder / "packed", idx_bytes(8, {1000, 28, 28}, 784'000));
  for (const char* name : {"plain", "packed"}) {
    IdxFile file(folder / name);
    EXPECT_EQ(file.shape(), (std::vector<std::int64_t>{1000, 28, 28}));
    EXPECT_EQ(file.item_bytes(), 784u);
    expect_items(file, 3, 1);
    expect_items(file, 4, 500);
    expect_items(file, 990, 10);
    expect_items(file, 0, 1000);
    expect_items(file, 999, 1);
    expect_items(file, 998, 1);
    std::vector<std::uint8_t> too_few(783);
    expect_error([&] { file.read(0, 1, too_few); }, {name, "783 bytes"});
    std::vector<std::uint8_t> beyond(784 * 2);
    expect_error([&] { file.read(999, 2, beyond); }, {name, "there are 1000"});
  }
}

TEST(Idx, TheEndIsCheckedWithTheLastItem) {
  const Folder folder;
  const std::string whole = idx_bytes(8, {10, 4}, 40);
  write_gzip(folder / "long", whole + "xy");
  write_gzip(folder / "short", whole.substr(0, 50));
  std::vector<std::uint8_t> item(4);
  IdxFile too_long(folder / "long"), too_short(folder / "short");
  too_long.read(8, 1, item);
  too_short.read(8, 1, item);
  expect_error([&] { too_long.read(9, 1, item); }, {"/long", "trailing", "42 bytes", "expected 40"});
  expect_error([&] { too_short.read(9, 1, item); }, {"/short", "truncated", "38 bytes", "expected 40"});
  expect_error([&] { IdxFile(folder / "long").require_whole(); }, {"/long", "trailing", "42 bytes", "expected 40"});
  expect_error([&] { IdxFile(folder / "short").require_whole(); }, {"/short", "truncated", "38 bytes", "expected 40"});
  for (const std::uint32_t items : {0u, 10u}) {
    write_gzip(folder / "whole", idx_bytes(8, {items, 4}, 4 * items));
    EXPECT_NO_THROW(IdxFile(folder / "whole").require_whole());
  }
  // A plain file tells by its size.
  write_bytes(folder / "long", whole + "xy");
  expect_error([&] { IdxFile file(folder / "long"); }, {"/long", "trailing", "42 bytes", "expected 40"});
}

TEST(Idx, APackedFileThatPromisesMoreThanMemoryHoldsIsTruncated) {
  const Folder folder;
  write_gzip(folder / "a", idx_bytes(8, {4'000'000'000u, 1000}, 5000));
  expect_error([&] { read_idx(folder / "a"); }, {"/a", "truncated", "4000000000000 bytes", "[4000000000, 1000]"});
  write_gzip(folder / "a", idx_bytes(8, {1, 1u << 20, 1u << 20}, 5000));
  expect_error([&] { IdxFile(folder / "a").require_whole(); }, {"/a", "truncated", "1099511627776 bytes"});
}

}  // namespace
}  // namespace couplet::testing
