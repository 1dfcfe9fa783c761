// Images made by anybody: what is opened of a folder, and what is refused.
#include "method/data/image_set.h"

#include "storage/formats/picture.h"
#include "tests/storage/storage_testing.h"

#include <ATen/core/Tensor.h>
#include <sys/stat.h>
#include <unistd.h>

namespace couplet::testing {
namespace {

/// A grey picture of 2 x 3 pixels, all of one value.
void write_grey(const fs::path& path, std::uint8_t value) {
  fs::create_directories(path.parent_path());
  write_png(path, {2, 3, 1, std::vector<std::uint8_t>(6, value)});
}

/// The values of the pictures of a folder, in their order.
std::vector<int> values_of(const fs::path& folder) {
  const auto images = open_image_set(folder);
  std::vector<int> values;
  for (std::int64_t i = 0; i < images->shape().images; ++i)
    values.push_back(images->read(i, 1).flatten()[0].item<int>());
  return values;
}

void expect_refusal(const fs::path& path, const std::vector<std::string>& parts) {
  expect_error([&] { open_image_set(path); }, parts);
}

TEST(ImageSet, PicturesComeInTheOrderOfTheirPathsWhateverTheCaseOfTheirEnding) {
  const Folder folder;
  write_grey(folder / "b.PNG", 2);
  write_grey(folder / "a.png", 1);
  write_grey(folder / "c/a.Png", 3);
  EXPECT_EQ(values_of(folder.path()), (std::vector<int>{1, 2, 3}));
}

TEST(ImageSet, HiddenFilesAndFoldersAreLeftOut) {
  const Folder folder;
  write_grey(folder / "a.png", 1);
  write_grey(folder / "._a.png", 2);
  write_grey(folder / ".ipynb_checkpoints/a.png", 3);
  write_grey(folder / "c/.d/a.png", 4);
  EXPECT_EQ(values_of(folder.path()), (std::vector<int>{1}));
  EXPECT_EQ(values_of(folder / ".ipynb_checkpoints"), (std::vector<int>{3}));
}

TEST(ImageSet, LinksAreFollowedButNotInCircles) {
  const Folder folder;
  write_grey(folder / "elsewhere/a.png", 1);
  write_grey(folder / "set/c/a.png", 2);
  fs::create_directory_symlink(folder / "elsewhere", folder / "set/b");
  fs::create_symlink(folder / "elsewhere/a.png", folder / "set/d.png");
  EXPECT_EQ(values_of(folder / "set"), (std::vector<int>{1, 2, 1}));
  fs::create_directory_symlink("..", folder / "set/c/up");
  expect_refusal(folder / "set", {"set/c/up", "the same folder as " + (folder / "set").string(), "count twice"});
  fs::remove(folder / "set/c/up");
  fs::create_directory_symlink("c", folder / "set/e");
  expect_refusal(folder / "set", {"set/e", "set/c", "the same folder"});
}

TEST(ImageSet, WhatCannotBeReadIsNamedInOwnWords) {
  const Folder folder;
  write_grey(folder / "a.png", 1);
  fs::create_symlink("nowhere.png", folder / "b.png");
  expect_refusal(folder.path(), {"b.png", "a link that leads nowhere"});
  fs::remove(folder / "b.png");
  fs::create_symlink("b.png", folder / "b.png");
  expect_refusal(folder.path(), {"b.png: cannot be looked at: Too many levels of symbolic links"});
  expect_refusal(folder / "b.png", {"b.png: cannot be looked at: Too many levels of symbolic links"});
  fs::remove(folder / "b.png");
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  write_grey(folder / "c/a.png", 1);
  fs::permissions(folder / "c", fs::perms::none);
  expect_refusal(folder.path(), {"/c: the folder cannot be read: Permission denied"});
  expect_refusal(folder / "c", {"/c: the folder cannot be read: Permission denied"});
  fs::permissions(folder / "c", fs::perms::owner_all);
  fs::permissions(folder / "c/a.png", fs::perms::none);
  expect_refusal(folder.path(), {"c/a.png", "Permission denied"});
}

TEST(ImageSet, APipeIsRefusedNotWaitedFor) {
  const Folder folder;
  for (const char* name : {"a.png", "a.npz"}) {
    ASSERT_EQ(::mkfifo((folder / name).c_str(), 0600), 0);
    expect_refusal(folder / name, {name, "is no set of images"});
  }
  fs::remove(folder / "a.npz");
  expect_refusal(folder.path(), {"a.png", "pipe"});
}

TEST(ImageSet, OtherFilesAmongThePicturesAreRefused) {
  const Folder folder;
  expect_refusal(folder.path(), {"holds no images"});
  write_grey(folder / "a.png", 1);
  write_bytes(folder / "labels.txt", "1");
  expect_refusal(folder.path(), {"labels.txt", "is not a PNG file"});
  fs::remove(folder / "labels.txt");
  write_png(folder / "b.png", {3, 3, 1, std::vector<std::uint8_t>(9)});
  expect_refusal(folder.path(), {"b.png", "1x3x3", "a.png", "1x2x3", "one size"});
  expect_refusal(folder / "a.png", {"is no set of images"});
  expect_refusal(folder / "none", {"does not exist"});
}

class MadeSet : public ImageSet {
public:
  explicit MadeSet(const ImageSetShape& shape) : ImageSet("made", shape) {}
  at::Tensor read(std::int64_t, std::int64_t) override { return {}; }
};

TEST(ImageSet, HasImagesOfPixelsThatFitIntoMemory) {
  const auto make = [](const ImageSetShape& shape) { return [shape] { MadeSet set(shape); }; };
  EXPECT_NO_THROW(make({1, 3, 1, largest_image_side})());
  expect_error(make({0, 1, 8, 8}), {"made: holds no images"});
  expect_error(make({5, 1, 0, 8}), {"made", "no pixels", "1 x 0 x 8"});
  expect_error(make({5, 1, largest_image_side + 1, 8}), {"made", "1 x 8193 x 8", "at most 8192"});
}

TEST(ImageSet, AScalarIsNoImages) {
  const Folder folder;
  run_python(folder,
             "import numpy\nnumpy.savez('x.npz', numpy.float32('nan'))\nnumpy.savez('y.npz', numpy.uint8(1))\n");
  expect_refusal(folder / "x.npz", {"x.npz: arr_0 is float32 []", "1 of its 1 rows with NaN"});
  expect_refusal(folder / "y.npz", {"y.npz: arr_0 is uint8 []", "[N, H, W, C]"});
}

}  // namespace
}  // namespace couplet::testing
