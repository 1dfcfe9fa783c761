// The source `files`: PNG, JPEG and WebP files in a folder or an archive.
#include "method/data/image_source.h"
#include "storage/formats/picture.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

namespace couplet {

SourceKind files_source();

namespace testing {
namespace {

/// An image whose pixel values tell which it is.
std::string image(std::int64_t height, std::int64_t width, std::int64_t channels, int number) {
  Picture picture{height, width, channels, {}};
  for (std::int64_t i = 0; i < height * width * channels; ++i)
    picture.pixels.push_back(static_cast<std::uint8_t>(17 * number + 3 * i));
  return encode_png(picture);
}

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  write_bytes(path, bytes);
}

/// Ten colour images of 6 x 6 in each of two folders.
void write_two_classes(const fs::path& folder) {
  for (int i = 0; i < 20; ++i)
    write(folder / (i < 10 ? "cat" : "a dog \xc3\xbc") / fmt::format("{}.png", i), image(6, 6, 3, i));
}

SourceOptions options_for(const fs::path& folder) {
  SourceOptions options;
  options.folder = folder;
  options.held_out.share = 0.2;
  return options;
}

ImageSource open(const SourceOptions& options) {
  return files_source().open(options);
}

bool has_note(const ImageSource& source, const std::string& part) {
  return std::ranges::any_of(source.notes, [&](const auto& note) { return note.find(part) != std::string::npos; });
}

TEST(FileSource, AFolderItsZipAndItsTarGiveTheSameRows) {
  const Folder folder;
  write_two_classes(folder / "set");
  run_python(folder, R"(
import zipfile, tarfile
with zipfile.ZipFile("zip", "w", zipfile.ZIP_DEFLATED) as archive, tarfile.open("tar", "w") as tar:
    for root, _, names in os.walk("set"):
        for name in reversed(names):
            path = os.path.join(root, name)
            archive.write(path, os.path.relpath(path, "set"))
            tar.add(path, os.path.relpath(path, "set"))
)");
  const ImageSource first = open(options_for(folder / "set"));
  EXPECT_EQ(first.classes, 2);
  EXPECT_EQ(first.class_names, (std::vector<std::string>{"a dog \xc3\xbc", "cat"}));
  EXPECT_EQ(first.train->shape().image_text(), "3 x 6 x 6");
  EXPECT_EQ(first.train->shape().images, 16);
  EXPECT_EQ(first.test->shape().images, 4);
  EXPECT_TRUE(has_note(first, "20 images (20 PNG RGB)"));
  EXPECT_TRUE(has_note(first, "labels by directory: 2 classes"));
  std::vector<std::int64_t> held_out(2);
  for (std::int64_t i = 0; i < 4; ++i) ++held_out[static_cast<std::size_t>(first.test->label(i))];
  EXPECT_EQ(held_out, (std::vector<std::int64_t>{2, 2}));
  const at::Tensor rows = first.train->read(0, 16);
  for (const char* name : {"zip", "tar"}) {
    const ImageSource other = open(options_for(folder / name));
    EXPECT_TRUE(other.train->read(0, 16).equal(rows)) << name;
    EXPECT_TRUE(other.test->read(0, 4).equal(first.test->read(0, 4))) << name;
    EXPECT_EQ(other.train->content_hash(), first.train->content_hash()) << name;
    EXPECT_EQ(other.test->content_hash(), first.test->content_hash()) << name;
    for (std::int64_t i = 0; i < 16; ++i) {
      EXPECT_EQ(other.train->label(i), first.train->label(i));
      EXPECT_EQ(other.train->file_line(i), first.train->file_line(i));
    }
  }
  EXPECT_NE(first.train->content_hash(), first.test->content_hash());
  const std::vector<std::int64_t> some{9, 3, 3, 4, 0};
  EXPECT_TRUE(first.train->read_images(some).equal(rows.index_select(0, at::tensor(some))));
  EXPECT_TRUE(first.train->SourceImages::read_images(some).equal(rows.index_select(0, at::tensor(some))));
}

TEST(FileSource, PixelsAreThoseOfTheFiles) {
  const Folder folder;
  write(folder / "train/0.png", image(4, 4, 3, 0));
  write(folder / "train/1.png", image(4, 4, 1, 1));
  write(folder / "test/2.png", image(4, 4, 3, 2));
  SourceOptions options = options_for(folder.path());
  options.files.crop = "none";
  const ImageSource source = open(options);
  EXPECT_EQ(source.classes, 0);
  EXPECT_TRUE(has_note(source, "splits: train and test"));
  EXPECT_TRUE(has_note(source, "converted: 1 grey to RGB"));
  ASSERT_EQ(source.train->shape().images, 2);
  ASSERT_EQ(source.test->shape().images, 1);
  const at::Tensor train = source.train->read(0, 2), test = source.test->read(0, 1);
  for (std::int64_t i = 0; i < 16; ++i)
    for (std::int64_t c = 0; c < 3; ++c) {
      const auto value = [&](const at::Tensor& images, std::int64_t row) {
        return images[row][c].flatten()[i].item<int>();
      };
      EXPECT_EQ(value(train, 0), (3 * (3 * i + c)) % 256);
      EXPECT_EQ(value(train, 1), (17 + 3 * i) % 256);  // grey in each plane
      EXPECT_EQ(value(test, 0), (34 + 3 * (3 * i + c)) % 256);
    }
  EXPECT_EQ(source.train->file_line(1), "train/1.png\t4\t4\tPNG grey\tgrey to RGB");
  EXPECT_EQ(source.train->image_name(0), (folder / "train/0.png").string());
  EXPECT_EQ(source.provenance.at("crop"), "none");
}

TEST(FileSource, ChannelsAndSizesFollowTheFilesOrTheOptions) {
  const Folder folder;
  for (int i = 0; i < 5; ++i) write(folder / fmt::format("{}.png", i), image(8, 8, 1, i));
  SourceOptions options = options_for(folder.path());
  EXPECT_EQ(open(options).train->shape().image_text(), "1 x 8 x 8");
  options.files.size = 4;
  EXPECT_EQ(open(options).train->shape().image_text(), "1 x 4 x 4");
  const std::string hash = open(options).train->content_hash();
  options.files.crop = "edm";
  EXPECT_NE(open(options).train->content_hash(), hash);
  options.files.channels = 1;
  EXPECT_EQ(open(options).train->shape().channels, 1);
  write(folder / "5.png", image(8, 9, 3, 5));
  expect_error([&] { open(options); }, {"prepare.channels = 1, but 1 of 6 images", "in colour", "first is 5.png"});
  options.files.channels = 3;
  expect_error([&] { open(options); }, {"prepare.channels = 3, but 5 of 6 images", "grey", "first is 0.png"});
  options.files.channels = 0;
  EXPECT_EQ(open(options).train->shape().image_text(), "3 x 4 x 4");
  options.files.crop = "none";
  expect_error([&] { open(options); },
               {"prepare.crop = none and prepare.size = 4, but 6 of 6 images", "0.png of 8 x 8"});
  options.files.size = 0;
  expect_error([&] { open(options); }, {"0.png is 8 x 8, 5.png is 9 x 8", "prepare.size"});
  for (int i = 0; i < 5; ++i) write(folder / fmt::format("{}.png", i), image(8, 9, 1, i));
  expect_error([&] { open(options); }, {"(0.png is 9 x 8, width x height)", "prepare.size"});
}

TEST(FileSource, BrokenImagesAreAllNamedOrLeftOut) {
  const Folder folder;
  write_two_classes(folder.path());
  write(folder / "cat/z.png", image(6, 6, 3, 1).substr(0, 50));
  write(folder / "cat/y.jpg", "no JPEG");
  write(folder / "licence.txt", "free");
  SourceOptions options = options_for(folder.path());
  expect_error([&] { open(options); },
               {"2 of 22 images are broken", "prepare.skip-broken", "\n  cat/y.jpg: ", "\n  cat/z.png: "});
  options.files.skip_broken = true;
  const ImageSource source = open(options);
  EXPECT_EQ(source.train->shape().images + source.test->shape().images, 20);
  EXPECT_TRUE(has_note(source, "2 broken images are left out"));
  EXPECT_TRUE(has_note(source, "left aside: 1 files that are no images"));
  EXPECT_EQ(source.provenance.at("broken"), 2);
  write(folder / "dog/1.png", "");
  expect_error([&] { open(options); }, {"the folder dog of a class holds no image"});
}

TEST(FileSource, TheFirstPassMayBeDividedAndKept) {
  const Folder folder, kept;
  write_two_classes(folder.path());
  SourceOptions options = options_for(folder.path());
  const std::string hash = open(options).train->content_hash();
  int parts = 0;
  options.files.pass = [&](const PassStamp&, std::int64_t count, const PassPart& part) {
    ++parts;
    return std::vector{part(0, 7), part(7, 0), part(7, count - 7)};
  };
  EXPECT_EQ(open(options).train->content_hash(), hash);
  EXPECT_EQ(parts, 1);
  options.files.pass = [&](const PassStamp&, std::int64_t, const PassPart& part) { return std::vector{part(0, 7)}; };
  expect_error([&] { open(options); }, {"looked at 7 of 20"});

  options.files.pass = kept_pass(kept / "pass");
  const auto counted = [&] {
    const auto passes = options.files.pass;
    SourceOptions own = options;
    int made = 0;
    own.files.pass = [&](const PassStamp& stamp, std::int64_t count, const PassPart& part) {
      return passes(stamp, count, [&](std::int64_t first, std::int64_t some) {
        ++made;
        return part(first, some);
      });
    };
    EXPECT_EQ(open(own).test->shape().images, 4);
    return made;
  };
  EXPECT_EQ(counted(), 1);
  EXPECT_EQ(counted(), 0);
  const std::string bytes = read_bytes(kept / "pass");
  write_bytes(kept / "pass", bytes.substr(0, bytes.size() - 1));
  EXPECT_EQ(counted(), 1);
  EXPECT_EQ(counted(), 0);
  write(folder / "cat/0.png", image(6, 6, 3, 40));
  EXPECT_EQ(counted(), 1);
  EXPECT_NE(open(options).train->content_hash() + open(options).test->content_hash(), hash);
}

TEST(FileSource, FilesThatChangeMeanwhileAreErrors) {
  const Folder folder;
  write_two_classes(folder.path());
  const ImageSource source = open(options_for(folder.path()));
  for (int i = 0; i < 10; ++i) write(folder / fmt::format("cat/{}.png", i), image(6, 6, 3, 40 + i));
  expect_error([&] { source.train->read(0, 16); }, {"cat/", "changed"});
}

TEST(FileSource, WhatNoDataSetCanBeMadeOfIsRefused) {
  const Folder folder;
  fs::create_directories(folder / "empty");
  write(folder / "text/a.txt", "text");
  write(folder / "one/a.png", image(4, 4, 3, 1));
  const auto expect = [&](const std::string& name, const std::vector<std::string>& parts) {
    expect_error([&] { open(options_for(folder / name)); }, parts);
  };
  expect("empty", {"empty: holds no files"});
  expect("text", {"holds no image: none of its 1 files"});
  expect("one", {"holds one image, of which none can be held out"});
  expect("none", {"does not exist"});
  SourceOptions options = options_for(folder / "one");
  options.files.crop = "adn";
  expect_error([&] { open(options); }, {"unknown crop 'adn'", "'adm'"});
  options.files.crop = "adm";
  options.files.channels = 4;
  expect_error([&] { open(options); }, {"prepare.channels = 4"});
  options.files.channels = 0;
  options.files.size = 8193;
  expect_error([&] { open(options); }, {"prepare.size = 8193"});
  EXPECT_TRUE(files_source().files(options_for(folder / "one")).empty());
  ASSERT_EQ(files_source().files(options_for(folder / "none")).size(), 1u);
}

}  // namespace
}  // namespace testing
}  // namespace couplet
