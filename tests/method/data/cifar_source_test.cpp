#include "method/data/image_source.h"
#include "tests/storage/storage_testing.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

namespace couplet::testing {
namespace {

/// Records of two labels, or one: value v of record i of a file is (first + 5 i + v) mod 256.
std::string records(int count, int first, int label_bytes, int classes) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    if (label_bytes == 2) bytes += static_cast<char>(19);
    bytes += static_cast<char>((first + i) % classes);
    for (int v = 0; v < 3072; ++v) bytes += static_cast<char>(first + 5 * i + v);
  }
  return bytes;
}

SourceOptions cifar_of(const fs::path& folder) {
  SourceOptions options;
  options.folder = folder;
  return options;
}

void write_cifar_10(const fs::path& folder) {
  fs::create_directories(folder);
  for (int b = 1; b <= 5; ++b) write_bytes(folder / ("data_batch_" + std::to_string(b) + ".bin"), records(4, b, 1, 10));
  write_bytes(folder / "test_batch.bin", records(3, 7, 1, 10));
  write_bytes(folder / "batches.meta.txt", "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
}

void write_cifar_100(const fs::path& folder) {
  fs::create_directories(folder);
  write_bytes(folder / "train.bin", records(600, 90, 2, 100));
  write_bytes(folder / "test.bin", records(3, 7, 2, 100));
}

void expect_cifar(SourceImages& split, std::int64_t image, int first, int record) {
  const at::Tensor pixels = split.read(image, 1);
  ASSERT_EQ(pixels.sizes(), (at::IntArrayRef{1, 3, 32, 32}));
  for (std::int64_t v = 0; v < 3072; v += 61)
    ASSERT_EQ(pixels.flatten()[v].item<int>(), (first + 5 * record + v) % 256) << image << " " << v;
}

TEST(CifarSource, TheFilesOfTheTenClassesAreOneSplit) {
  const Folder folder;
  write_cifar_10(folder / "set");
  const ImageSource source = find_source("cifar").open(cifar_of(folder / "set"));
  EXPECT_EQ(source.classes, 10);
  EXPECT_EQ(source.class_names.size(), 10u);
  EXPECT_EQ(source.class_names.at(3), "cat");
  EXPECT_EQ(source.train->shape().images, 20);
  EXPECT_EQ(source.test->shape().images, 3);
  expect_cifar(*source.train, 0, 1, 0);
  expect_cifar(*source.train, 10, 3, 2);
  expect_cifar(*source.train, 19, 5, 3);
  expect_cifar(*source.test, 2, 7, 2);
  EXPECT_EQ(source.train->label(10), 5);
  EXPECT_EQ(source.test->label(2), 9);
  EXPECT_TRUE(source.train->read(2, 9).narrow(0, 8, 1).equal(source.train->read(10, 1)));
  EXPECT_EQ(source.train->image_name(10), "record 2 of " + (folder / "set" / "data_batch_3.bin").string());
  EXPECT_EQ(find_source("cifar").files(cifar_of(folder / "set")).size(), 6u);
}

TEST(CifarSource, TheSecondLabelOfTheHundredClassesIsTaken) {
  const Folder folder;
  write_cifar_100(folder / "cifar-100-binary");
  const ImageSource source = find_source("cifar").open(cifar_of(folder.path()));
  EXPECT_EQ(source.classes, 100);
  EXPECT_TRUE(source.class_names.empty());
  EXPECT_EQ(source.train->shape().images, 600);
  EXPECT_EQ(source.train->label(5), 95);
  EXPECT_EQ(source.train->label(12), 2);
  expect_cifar(*source.train, 599, 90, 599);
  EXPECT_EQ(find_source("cifar").files(cifar_of(folder.path())).size(), 2u);
}

TEST(CifarSource, AHashIsOfTheFilesWhereverTheyLie) {
  const Folder folder;
  write_cifar_10(folder / "a");
  write_cifar_10(folder / "b");
  const auto hash = [&](const char* name) {
    return find_source("cifar").open(cifar_of(folder / name)).train->content_hash();
  };
  EXPECT_EQ(hash("a"), hash("b"));
  write_bytes(folder / "b" / "data_batch_5.bin", records(4, 6, 1, 10));
  EXPECT_NE(hash("a"), hash("b"));
}

TEST(CifarSource, FilesThatAreNotRightAreRefused) {
  const Folder folder;
  const fs::path set = folder / "set";
  const auto refused = [&](const std::vector<std::string>& parts) {
    expect_error([&] { find_source("cifar").open(cifar_of(set)); }, parts);
    fs::remove_all(set);
    write_cifar_10(set);
  };
  refused({"holds no file of CIFAR's binary version", "data_batch_1.bin", "train.bin"});
  write_bytes(set / "data_batch_2.bin", records(4, 2, 1, 10).substr(0, 9000));
  refused({"data_batch_2.bin: its 9000 bytes are 2 records of 3073 bytes", "2854 bytes", "cut short"});
  write_bytes(set / "data_batch_2.bin", records(3, 2, 1, 10));
  refused({"data_batch_2.bin: has 3 records", "data_batch_1.bin", "has 4"});
  write_bytes(set / "data_batch_2.bin", "");
  refused({"data_batch_2.bin: its 0 bytes"});
  write_bytes(set / "data_batch_2.bin", records(4, 2, 2, 100));
  refused({"data_batch_2.bin", "records of 3074 bytes, as CIFAR-100", "CIFAR-10, whose records have 3073"});
  write_bytes(set / "test_batch.bin", records(4, 2, 1, 100).replace(3073, 1, "\x0b"));
  refused({"test_batch.bin: record 1 has the label 11; CIFAR-10 has 10 classes"});
  fs::remove(set / "data_batch_4.bin");
  refused({"data_batch_4.bin is missing"});
  write_bytes(set / "batches.meta.txt", "one\ntwo\n");
  refused({"batches.meta.txt: has 2 names; CIFAR-10 has 10 classes"});
  write_cifar_100(set);
  refused({"holds files of CIFAR-10 in", "and of CIFAR-100 in"});
  fs::remove_all(set);
  fs::create_directory(set);
  for (int b = 1; b <= 5; ++b) write_bytes(set / ("data_batch_" + std::to_string(b)), "pickle");
  EXPECT_TRUE(find_source("cifar").files(cifar_of(set)).empty());
  refused({"the Python version of CIFAR-10", "fetch the binary version"});
  write_bytes(folder / "cifar-10-binary.tar.gz", "archive");
  expect_error([&] { find_source("cifar").open(cifar_of(folder / "cifar-10-binary.tar.gz")); },
               {"is a file", "cifar-10-batches-bin"});
  EXPECT_EQ(find_source("cifar").files(cifar_of(folder / "none")).size(), 6u);
}

}  // namespace
}  // namespace couplet::testing
