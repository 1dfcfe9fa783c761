#include "storage/formats/array_rows.h"

#include "storage/formats/array_folder.h"
#include "tests/storage/storage_testing.h"

#include <algorithm>
#include <thread>

namespace couplet::testing {
namespace {

constexpr std::int64_t all_rows = 500, row_values = 13;

/// Files in which value j of row i of array x is (7 i + 3 j) mod 251, of array y one more.
const Folder& arrays() {
  static const Folder folder;
  if (fs::is_empty(folder.path()))
    run_python(folder, R"(
import numpy as np, h5py
i, j = np.mgrid[0:500, 0:13]
x = ((7 * i + 3 * j) % 251).astype('uint8')
np.savez('stored.npz', x=x, y=x + 1)
np.savez_compressed('packed.npz', x=x, y=x + 1)
np.save('x.npy', x)
with h5py.File('plain.h5', 'w') as f:
    f['x'] = x
    f['group/x'] = x + 1
with h5py.File('packed.h5', 'w') as f:
    f.create_dataset('x', data=x, chunks=(7, 5), compression='gzip')
with h5py.File('rows.h5', 'w') as f:
    f.create_dataset('x', data=x, chunks=(1, 13), compression='gzip')
)");
  return folder;
}

std::shared_ptr<ArrayFile> open_file(const fs::path& path, const fs::path& scratch = {}) {
  auto file = std::make_shared<ArrayFile>();
  file->name = path.filename().string();
  file->file = open_arrays(path);
  file->scratch = scratch;
  return file;
}

void expect_rows(ArrayRows& array, std::int64_t first, std::int64_t count, int more = 0) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * row_values));
  array.read(first, count, std::as_writable_bytes(std::span(bytes)));
  for (std::int64_t i = 0; i < count; ++i)
    for (std::int64_t j = 0; j < row_values; ++j)
      ASSERT_EQ(bytes[static_cast<std::size_t>(i * row_values + j)], (7 * (first + i) + 3 * j) % 251 + more)
          << array.what() << " row " << first + i;
}

const std::vector<std::string> all_files{"stored.npz", "packed.npz", "x.npy", "plain.h5", "packed.h5", "rows.h5"};

TEST(ArrayRows, RowsComeInAnyOrder) {
  for (const std::string& name : all_files) {
    ArrayRows array(open_file(arrays() / name), "x");
    EXPECT_EQ(array.rows(), all_rows) << name;
    EXPECT_EQ(array.description(), "uint8 [500, 13]");
    EXPECT_EQ(array.what(), name + ": array 'x'");
    expect_rows(array, 3, 5);
    expect_rows(array, 20, 1);
    expect_rows(array, 2, 30);
    expect_rows(array, 490, 10);
    expect_rows(array, 0, 1);
    expect_rows(array, 0, all_rows);
    for (std::int64_t i = 0; i < 200; ++i) expect_rows(array, i * 321 % 499, 2);
    expect_error([&] { expect_rows(array, 499, 2); }, {name, "cannot read 2 rows from row 499"});
  }
}

TEST(ArrayRows, OnlyPackedArraysAreUnpackedAndOnlyToGoBack) {
  const Folder folder;
  for (const std::string& name : all_files) {
    // A file cannot be made in a folder that is not there.
    ArrayRows array(open_file(arrays() / name, folder / "nowhere"), "x");
    expect_rows(array, 0, 10);
    expect_rows(array, 10, 10);
    expect_rows(array, 300, 10);
    if (name.starts_with("packed")) {
      expect_error([&] { expect_rows(array, 5, 1); }, {(folder / "nowhere").string()});
    } else {
      expect_rows(array, 5, 1);
    }
  }
}

TEST(ArrayRows, WhatIsUnpackedLeavesNoName) {
  const Folder folder;
  fs::create_directory(folder / "scratch");
  ArrayRows array(open_file(arrays() / "packed.npz", folder / "scratch"), "x");
  expect_rows(array, 400, 1);
  expect_rows(array, 5, 1);
  EXPECT_TRUE(fs::is_empty(folder / "scratch"));
}

TEST(ArrayRows, SeveralThreadsReadTheArraysOfAFile) {
  for (const char* name : {"stored.npz", "packed.npz"}) {
    const auto file = open_file(arrays() / name);
    ArrayRows x(file, "x"), y(file, "y");
    std::vector<std::thread> threads;
    for (std::int64_t t = 0; t < 4; ++t)
      threads.emplace_back([&, t] {
        for (std::int64_t i = 0; i < 100; ++i)
          expect_rows(t % 2 == 0 ? x : y, (i * 37 + t) % 490, 3, t % 2 == 0 ? 0 : 1);
      });
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(ArrayRows, DamageIsFoundWhereAllIsRead) {
  const Folder folder;
  for (const char* name : {"stored.npz", "packed.npz"}) {
    std::string bytes = read_bytes(arrays() / name);
    bytes[bytes.find("NUMPY") == std::string::npos ? 900 : bytes.find("NUMPY") + 500] ^= 1;
    write_bytes(folder / "damaged.npz", bytes);
    expect_error(
        [&] {
          ArrayRows array(open_file(folder / "damaged.npz"), "x");
          array.for_each_piece(array.rows(), [](std::int64_t, std::span<const std::byte>) {});
        },
        {"damaged.npz", "is damaged"});
  }
}

TEST(ArrayFolder, HoldsTheArraysOfItsFiles) {
  const Folder folder;
  fs::create_directory(folder / "set");
  fs::copy(arrays() / "x.npy", folder / "set" / "images.npy");
  fs::copy(arrays() / "packed.npz", folder / "set" / "train.npz");
  fs::copy(arrays() / "plain.h5", folder / "set" / "test.h5");
  write_bytes(folder / "set" / "README.txt", "notes");
  EXPECT_EQ(open_arrays(folder / "set")->names(),
            (std::vector<std::string>{"images", "test/group/x", "test/x", "train/x", "train/y"}));
  const auto file = open_file(folder / "set");
  ArrayRows y(file, "train/y"), grouped(file, "test/group/x"), images(file, "images");
  expect_rows(y, 490, 10, 1);
  expect_rows(grouped, 490, 10, 1);
  expect_rows(images, 490, 10);
  EXPECT_EQ(array_files(folder / "set").size(), 3u);
  EXPECT_TRUE(array_files(folder / "none").empty());
}

TEST(ArrayFolder, WhatHoldsNoArraysIsRefused) {
  const Folder folder;
  fs::create_directory(folder / "empty");
  expect_error([&] { open_arrays(folder / "empty"); }, {"empty", "holds no arrays", ".npz"});
  expect_error([&] { open_arrays(folder / "none"); }, {"none", "does not exist"});
  write_bytes(folder / "a.npz", "no archive");
  expect_error([&] { open_arrays(folder / "a.npz"); }, {"a.npz", "no file of arrays", "signature"});
  write_bytes(folder / "a.npy", read_bytes(arrays() / "x.npy").substr(0, 300));
  expect_error([&] { open_arrays(folder / "a.npy"); }, {"a.npy", "bytes of values"});
  fs::create_directory(folder / "twice");
  fs::copy(arrays() / "stored.npz", folder / "twice" / "train.npz");
  fs::copy(arrays() / "plain.h5", folder / "twice" / "train.h5");
  expect_error([&] { open_arrays(folder / "twice"); }, {"train.h5", "train.npz", "both have an array 'train/x'"});
}

}  // namespace
}  // namespace couplet::testing
