#include "method/data/files/survey.h"

#include "method/data/files/split_folders.h"
#include "storage/files/hash.h"
#include "storage/formats/picture.h"
#include "tests/storage/storage_testing.h"

#include <memory>

namespace couplet::testing {
namespace {

std::string png(std::int64_t height, std::int64_t width, std::int64_t channels) {
  return encode_png(
      {height, width, channels, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * channels), 7)});
}

/// Files of every state: places 0 to 7, in their order.
void write_mixed(const Folder& folder) {
  fs::create_directories(folder / "a b");
  write_bytes(folder / "a b/1.txt", png(3, 4, 3));                // an image, whatever it is called
  write_bytes(folder / "a b/2.PNG", png(5, 6, 1).substr(0, 60));  // truncated
  write_bytes(folder / "a b/\xc3\xbc.png", png(2, 2, 1));
  write_bytes(folder / "b.gif", "GIF89a, which is none of ours");
  write_bytes(folder / "c.jpg", "");
  write_bytes(folder / "d", png(5, 6, 1).substr(0, 60));  // it begins as an image
  write_bytes(folder / "notes.txt", "about the data set");
  write_bytes(folder / "z.png", png(3, 4, 3));
}

TEST(Survey, FilesAreImagesBrokenOrOthersByTheirBytes) {
  const Folder folder;
  write_mixed(folder);
  const auto files = open_file_set(folder.path());
  const Survey survey = survey_files(*files, 0, files->count());
  ASSERT_EQ(survey.count(), 8);
  EXPECT_EQ(survey.files_in(FileState::image), (std::vector<std::int64_t>{0, 2, 7}));
  EXPECT_EQ(survey.files_in(FileState::broken), (std::vector<std::int64_t>{1, 3, 4, 5}));
  EXPECT_EQ(survey.files_in(FileState::other), (std::vector<std::int64_t>{6}));
  EXPECT_EQ(survey[0].height, 3);
  EXPECT_EQ(survey[0].width, 4);
  EXPECT_EQ(survey.encoding(0).channels, 3);
  EXPECT_EQ(survey.encoding(2).channels, 1);
  EXPECT_EQ(survey.encoding(0).format, "PNG");
  EXPECT_EQ(survey[0].encoding, survey[7].encoding);
  const std::string bytes = png(3, 4, 3);
  EXPECT_EQ(survey[7].hash, hash64(std::as_bytes(std::span(bytes))));
  EXPECT_NE(survey.broken().at(1).find("truncated"), std::string::npos) << survey.broken().at(1);
  EXPECT_NE(survey.broken().at(3).find("GIF"), std::string::npos) << survey.broken().at(3);
  EXPECT_NE(survey.broken().at(4).find("empty"), std::string::npos) << survey.broken().at(4);
  const std::string text = broken_text(*files, survey, 3);
  EXPECT_NE(text.find("  a b/2.PNG: "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  and 1 more"), std::string::npos) << text;
  EXPECT_EQ(broken_text(*files, survey, 4).find("more"), std::string::npos);
}

TEST(Survey, DamageBehindTheHeaderIsSeen) {
  const Folder folder;
  std::string damaged = png(40, 40, 3);
  damaged[damaged.size() - 30] ^= '\x5a';
  write_bytes(folder / "1.png", damaged);
  const auto files = open_file_set(folder.path());
  EXPECT_EQ(survey_files(*files, 0, 1)[0].state, FileState::broken);
}

TEST(Survey, FilesThatCannotBeReadAreBroken) {
  const Folder folder;
  run_python(folder, R"(
import zipfile, struct
with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("bomb.png", bytes(4 << 20))
    archive.writestr("bomb.txt", bytes(4 << 20))
os.mkdir("f")
open("f/film.mov", "wb").truncate(3 << 30)
open("f/huge.jpg", "wb").truncate(3 << 30)
)");
  const auto files = open_file_set(folder / "a.zip");
  const Survey survey = survey_files(*files, 0, 2);
  EXPECT_EQ(survey.broken().size(), 2u);
  EXPECT_TRUE(survey.broken().at(0).starts_with("would unpack to 4.0 MiB")) << survey.broken().at(0);
  const auto others = open_file_set(folder / "f");
  const Survey large = survey_files(*others, 0, 2);
  EXPECT_EQ(large[0].state, FileState::other);
  EXPECT_EQ(large[1].state, FileState::broken);
  EXPECT_TRUE(large.broken().at(1).starts_with("has 3.0 GiB")) << large.broken().at(1);
}

TEST(Survey, PartsMakeTheWhole) {
  const Folder folder;
  write_mixed(folder);
  const auto files = open_file_set(folder.path());
  const Survey whole = survey_files(*files, 0, 8);
  for (const std::int64_t cut : {0, 1, 3, 7, 8}) {
    Survey joined;
    for (const auto& [first, count] : {std::pair(std::int64_t{0}, cut), std::pair(cut, 8 - cut)})
      joined.append(Survey::unpacked(survey_files(*files, first, count).packed(), "a part"));
    EXPECT_EQ(joined.broken(), whole.broken());
    ASSERT_EQ(joined.count(), 8);
    for (std::int64_t i = 0; i < 8; ++i) {
      EXPECT_EQ(joined[i].hash, whole[i].hash);
      EXPECT_EQ(joined[i].state, whole[i].state);
      if (whole[i].state == FileState::image) {
        EXPECT_EQ(joined.encoding(i), whole.encoding(i));
      }
    }
    EXPECT_EQ(joined.packed(), whole.packed());
  }
  Survey gap;
  expect_error([&] { gap.append(survey_files(*files, 2, 2)); }, {"do not follow each other"});
}

TEST(Survey, BytesThatAreNoResultAreRefused) {
  const Folder folder;
  write_mixed(folder);
  const std::string packed = survey_files(*open_file_set(folder.path()), 0, 8).packed();
  const auto expect_refused = [](const std::string& bytes) {
    expect_error([&] { Survey::unpacked(bytes, "kept"); }, {"kept"});
  };
  expect_refused("");
  expect_refused("{}\n");
  expect_refused(packed.substr(0, packed.size() - 1));
  expect_refused(packed + std::string(16, '\0'));
  std::string changed = packed;
  changed[packed.size() - 2] = '\7';  // a state that there is not
  changed[packed.size() - 3] = '\7';
  changed[packed.size() - 4] = '\7';
  expect_refused(changed);
}

/// Images of these names.
struct Named {
  Folder folder;
  std::unique_ptr<FileSet> files;
  std::vector<std::int64_t> images;
  explicit Named(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      fs::create_directories((folder / name).parent_path());
      write_bytes(folder / name, "");
    }
    files = open_file_set(folder.path());
    for (std::int64_t i = 0; i < files->count(); ++i) images.push_back(i);
  }
  SplitFolders find(const SplitFolderOptions& options = {}) const {
    return find_split_folders(*files, images, options);
  }
};

TEST(SplitFolders, AreFoundByTheirNames) {
  const SplitFolders val = Named({"train/a/1", "train/b/2", "val/a/1"}).find();
  EXPECT_EQ(val.train, "train");
  EXPECT_EQ(val.test, "val");
  EXPECT_TRUE(val.are_named());
  EXPECT_EQ(Named({"train/1", "test/1"}).find().test, "test");
  EXPECT_EQ(Named({"train/1", "validation/1"}).find().test, "validation");
  const SplitFolders alone = Named({"train/a/1", "train/b/2"}).find();
  EXPECT_EQ(alone.train, "train");
  EXPECT_FALSE(alone.are_named());
  EXPECT_EQ(Named({"train/1", "bus/1"}).find().train, "");
  EXPECT_EQ(Named({"test/1", "val/1"}).find().train, "");
  EXPECT_EQ(Named({"1", "2"}).find().train, "");
}

TEST(SplitFolders, WhatIsNotClearIsRefused) {
  const Named three({"train/1", "val/1", "test/1"});
  expect_error([&] { three.find(); }, {"test and val beside train", "prepare.test-folder"});
  const SplitFolders named = three.find({"train", "val/"});
  EXPECT_EQ(named.test, "val");
  EXPECT_EQ(images_inside(*three.files, three.images, "val"), std::vector<std::int64_t>{2});
  EXPECT_EQ(three.find({"none", ""}).train, "");
  expect_error([&] { Named({"train/1", "test/1", "a/1", "2"}).find(); }, {"train and test, but also in no folder, a"});
  expect_error([&] { three.find({"train", ""}); }, {"prepare.test-folder = : name both folders, or none"});
  expect_error([&] { three.find({"none", "val"}); }, {"prepare.train-folder = none, but prepare.test-folder = val"});
  expect_error([&] { three.find({"train", "vale"}); }, {"prepare.test-folder = vale: no image lies there"});
  expect_error([&] { three.find({"train", "train/a"}); }, {"one of them lies in the other"});
}

}  // namespace
}  // namespace couplet::testing
