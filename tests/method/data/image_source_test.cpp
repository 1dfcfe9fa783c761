#include "method/data/image_source.h"

#include "tests/method/data/idx_files.h"
#include "tests/storage/storage_testing.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <set>

namespace couplet::testing {
namespace {

/// A data set in `folder`, the images of training gzipped.
SourceOptions idx_set(const fs::path& folder, std::uint32_t train, std::uint32_t test) {
  fs::create_directories(folder);
  write_packed(folder / "a", idx_pixels(train, 4, 5));
  write_text(folder / "b", idx_labels(train, 3));
  write_text(folder / "c", idx_pixels(test, 4, 5));
  write_packed(folder / "d", idx_labels(test, 5));
  return {folder, "a", "b", "c", "d"};
}

TEST(ImageSource, TheRegistrySaysWhatThereIs) {
  std::set<std::string> names;
  for (const SourceKind& kind : source_kinds()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    EXPECT_FALSE(kind.help.empty()) << kind.name;
    EXPECT_EQ(&find_source(kind.name), &kind);
  }
  EXPECT_TRUE(names.contains("idx"));
  expect_error([] { find_source("idz"); }, {"unknown image source 'idz'", "did you mean 'idx'"});
}

TEST(ImageSource, IdxGivesImagesAndLabelsInTheOrderOfTheFiles) {
  const Folder folder;
  const ImageSource source = find_source("idx").open(idx_set(folder.path(), 40, 12));
  EXPECT_EQ(source.classes, 5);
  EXPECT_EQ(source.train->shape().images, 40);
  EXPECT_EQ(source.test->shape().images, 12);
  EXPECT_EQ(source.train->shape().image_text(), "1 x 4 x 5");
  EXPECT_EQ(source.train->name(), (folder / "a").string());
  EXPECT_NE(source.test->image_name(7).find("image 7 of "), std::string::npos);
  for (SourceImages* split : {source.train.get(), source.test.get()}) {
    const at::Tensor some = split->read(3, 8);
    ASSERT_EQ(some.sizes(), (at::IntArrayRef{8, 1, 4, 5}));
    for (std::int64_t i = 0; i < 8; ++i)
      for (std::int64_t v = 0; v < 20; ++v)
        ASSERT_EQ(some[i].flatten()[v].item<int>(), (7 * (i + 3) + 3 * v) % 256) << i << " " << v;
    EXPECT_TRUE(split->read(5, 1).equal(some.narrow(0, 2, 1)));
  }
  EXPECT_EQ(source.train->label(11), 11 % 3);
  EXPECT_EQ(source.test->label(9), 9 % 5);
}

TEST(ImageSource, AHashIsOfTheFilesWhereverTheyLie) {
  const Folder folder;
  const auto hashes = [](const SourceOptions& options) {
    const ImageSource source = find_source("idx").open(options);
    return std::pair(source.train->content_hash(), source.test->content_hash());
  };
  const auto here = hashes(idx_set(folder / "here", 40, 12)), there = hashes(idx_set(folder / "there", 40, 12));
  EXPECT_EQ(here, there);
  EXPECT_NE(here.first, here.second);
  SourceOptions changed = idx_set(folder / "here", 40, 12);
  write_text(folder / "here" / "b", idx_labels(40, 4));
  EXPECT_NE(hashes(changed).first, here.first);
  EXPECT_EQ(hashes(changed).second, here.second);
}

TEST(ImageSource, FilesAreNamedWithTheirKeys) {
  const auto files = find_source("idx").files({"/data", "a", "", "c", ""});
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].path, "/data/a");
  EXPECT_EQ(files[0].key, "prepare.train-images");
  EXPECT_EQ(files[1].path, "/data/c");
  EXPECT_EQ(files[1].key, "prepare.test-images");
}

TEST(ImageSource, IdxFilesNeedNoLabels) {
  const Folder folder;
  SourceOptions options = idx_set(folder.path(), 40, 12);
  options.train_labels.clear();
  expect_error([&] { find_source("idx").open(options); }, {"prepare.train-labels", "prepare.test-labels = d"});
  options.test_labels.clear();
  const ImageSource source = find_source("idx").open(options);
  EXPECT_EQ(source.classes, 0);
  EXPECT_EQ(source.train->label(39), 0);
  write_text(folder / "b", idx_labels(40, 1));
  write_text(folder / "d", idx_labels(12, 1));
  EXPECT_EQ(find_source("idx").open({folder.path(), "a", "b", "c", "d"}).classes, 1);
}

TEST(ImageSource, IdxFilesThatDoNotBelongTogetherAreErrors) {
  const Folder folder;
  const SourceOptions options = idx_set(folder.path(), 40, 12);
  const auto open = [](const SourceOptions& those) { return [those] { find_source("idx").open(those); }; };
  SourceOptions other = options;
  std::swap(other.train_images, other.train_labels);
  expect_error(open(other), {(folder / "b").string(), "1 axes", "images have 3"});
  other = options;
  other.test_labels = "c";
  expect_error(open(other), {(folder / "c").string(), "3 axes", "swapped"});
  other = options;
  other.test_labels = "b";
  expect_error(open(other), {"holds 12 images", (folder / "b").string(), "40 labels"});
  other = options;
  other.test_images = "none";
  expect_error(open(other), {(folder / "none").string(), "No such file"});
}

TEST(ImageSource, IdxFilesWithoutImagesOrPixelsAreRefusedByName) {
  const Folder folder;
  SourceOptions options = idx_set(folder.path(), 40, 12);
  const auto open = [&] { find_source("idx").open(options); };
  write_packed(folder / "a", idx_text({0, 4, 5}, ""));
  expect_error(open, {(folder / "a").string() + ": holds no images"});
  write_packed(folder / "a", idx_text({40, 0, 8}, ""));
  expect_error(open, {(folder / "a").string(), "no pixels", "1 x 0 x 8"});
  write_packed(folder / "a", idx_text({40, 60'000, 60'000}, "few"));
  expect_error(open, {(folder / "a").string(), "cannot hold the 144000000000 bytes", "[40, 60000, 60000]"});
  write_packed(folder / "a", idx_text({40, 9000, 1}, std::string(360'000, 'x')));
  expect_error(open, {(folder / "a").string(), "1 x 9000 x 1", "at most 8192 pixels"});
}

TEST(ImageSource, LabelsAreCountedBeforeTheyAreRead) {
  const Folder folder;
  SourceOptions options = idx_set(folder.path(), 40, 12);
  const auto open = [&] { find_source("idx").open(options); };
  // A header that promises thousands of labels, of which a file holds three.
  write_packed(folder / "b", idx_text({20'000}, "abc"));
  expect_error(open, {"holds 40 images", (folder / "b").string(), "20000"});
  write_packed(folder / "b", idx_text({4'000'000'000u}, "abc"));
  expect_error(open, {(folder / "b").string(), "cannot hold the 4000000000 bytes"});
}

}  // namespace
}  // namespace couplet::testing
