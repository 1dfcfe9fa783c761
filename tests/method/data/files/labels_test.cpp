#include "method/data/files/labels.h"

#include "method/data/files/dataset_json.h"
#include "tests/storage/storage_testing.h"

#include <map>
#include <memory>

namespace couplet::testing {
namespace {

using Labels = std::vector<std::int32_t>;

/// Files with these bytes in a folder, and all that end with .png as the images of one split.
struct Labelled {
  Folder folder;
  std::unique_ptr<FileSet> files;

  explicit Labelled(const std::map<std::string, std::string>& bytes) {
    for (const auto& [name, text] : bytes) {
      fs::create_directories((folder / name).parent_path());
      if (!name.ends_with('/')) write_bytes(folder / name, text);
    }
    files = open_file_set(folder.path());
  }
  LabelledFiles images(const std::string& root = "") const {
    LabelledFiles split{root, {}};
    for (std::int64_t i = 0; i < files->count(); ++i)
      if (files->name(i).ends_with(".png") && files->name(i).starts_with(root)) split.files.push_back(i);
    return split;
  }
  FileLabels labels(const std::string& rule) const { return read_labels(*files, {images()}, rule); }
  FileLabels split_labels(const std::string& rule) const {
    return read_labels(*files, {images("train"), images("test")}, rule);
  }
};

TEST(FileLabels, FoldersAreClassesInTheOrderOfTheirBytes) {
  const Labelled set({{"b/1.png", ""},
                      {"a-c/2.png", ""},
                      {"a/x/3.png", ""},
                      {"a/4.png", ""},
                      {"\xc3\xbc/5.png", ""},
                      {"B/6.png", ""}});
  for (const char* rule : {"directory", "auto"}) {
    const FileLabels labels = set.labels(rule);
    EXPECT_EQ(labels.rule, "directory");
    EXPECT_EQ(labels.classes, 5);
    EXPECT_EQ(labels.class_names, (std::vector<std::string>{"B", "a", "a-c", "b", "\xc3\xbc"}));
    EXPECT_EQ(labels.splits, (std::vector<Labels>{{0, 1, 1, 2, 3, 4}}));
    EXPECT_EQ(labels.text(), "labels by directory: 5 classes");
  }
  EXPECT_EQ(set.labels("none").classes, 0);
  EXPECT_EQ(set.labels("none").text(), "no labels");
  EXPECT_TRUE(set.labels("none").splits.empty());
}

TEST(FileLabels, SplitsShareTheirClasses) {
  const Labelled set({{"train/b/1.png", ""}, {"train/c/1.png", ""}, {"test/a/1.png", ""}, {"test/c/1.png", ""}});
  const FileLabels labels = set.split_labels("auto");
  EXPECT_EQ(labels.class_names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(labels.splits, (std::vector<Labels>{{1, 2}, {0, 2}}));
}

TEST(FileLabels, OneFolderIsNoClass) {
  const Labelled set({{"00000/1.png", ""}, {"00000/2.png", ""}});
  EXPECT_EQ(set.labels("auto").rule, "none");
  EXPECT_EQ(set.labels("directory").classes, 1);
}

TEST(FileLabels, EmptyFoldersAndFilesInNoneAreRefused) {
  const Labelled empty({{"a/1.png", ""}, {"b/2.png", ""}, {"empty/", ""}});
  expect_error([&] { empty.labels("auto"); }, {"the folder empty of a class holds no image"});
  EXPECT_EQ(empty.labels("none").classes, 0);
  const Labelled text({{"train/a/1.png", ""}, {"train/b c/2.txt", ""}, {"test/a/3.png", ""}});
  expect_error([&] { text.split_labels("directory"); }, {"the folder train/b c of a class"});
  const Labelled outside({{"a/1.png", ""}, {"b/2.png", ""}, {"3.png", ""}, {"4.png", ""}});
  expect_error([&] { outside.labels("auto"); }, {"2 of 4 images lie in no folder of a class, the first is 3.png"});
}

TEST(FileLabels, PrefixesAreClasses) {
  const Labelled set({{"n02_7.png", ""}, {"n01_9.png", ""}, {"x/n02_1_2.png", ""}});
  const FileLabels labels = set.labels("prefix");
  EXPECT_EQ(labels.class_names, (std::vector<std::string>{"n01", "n02"}));
  EXPECT_EQ(labels.splits, (std::vector<Labels>{{0, 1, 1}}));
  const Labelled without({{"n02_7.png", ""}, {"cat.png", ""}});
  expect_error([&] { without.labels("prefix"); }, {"1 of 2 images have no '_'", "the first is cat.png"});
}

TEST(FileLabels, DatasetJsonIsRead) {
  const Labelled set(
      {{"0/a.png", ""},
       {"0/b.png", ""},
       {"dataset.json",
        R"({"about": {"labels": [1, [2]], "x": 1.5}, "labels": [["0/b.png", 7], ["not here.png", 9], ["0/a.png", 2147483647]], "more": [[[]]]})"}});
  const FileLabels labels = set.labels("auto");
  EXPECT_EQ(labels.rule, "dataset.json");
  EXPECT_EQ(labels.classes, std::int64_t{1} << 31);
  EXPECT_EQ(labels.splits, (std::vector<Labels>{{2147483647, 7}}));
  EXPECT_TRUE(labels.class_names.empty());
  const Labelled none({{"0/a.png", ""}, {"1/b.png", ""}, {"dataset.json", R"({"labels": null})"}});
  EXPECT_EQ(none.labels("auto").classes, 0);
  EXPECT_EQ(none.labels("auto").text(), "no labels, as dataset.json says");
}

TEST(FileLabels, DatasetJsonLiesInASplitOrForAll) {
  const Labelled both({{"train/a.png", ""},
                       {"test/b.png", ""},
                       {"dataset.json", R"({"labels": [["train/a.png", 1], ["test/b.png", 0]]})"}});
  EXPECT_EQ(both.split_labels("auto").splits, (std::vector<Labels>{{1}, {0}}));
  const Labelled each({{"train/a.png", ""},
                       {"test/b.png", ""},
                       {"train/dataset.json", R"({"labels": [["a.png", 3]]})"},
                       {"test/dataset.json", R"({"labels": [["b.png", 2]]})"}});
  EXPECT_EQ(each.split_labels("auto").splits, (std::vector<Labels>{{3}, {2}}));
  const Labelled one(
      {{"train/a.png", ""}, {"test/b.png", ""}, {"train/dataset.json", R"({"labels": [["a.png", 3]]})"}});
  expect_error([&] { one.split_labels("auto"); }, {"there is no test/dataset.json"});
  const Labelled some({{"train/a.png", ""},
                       {"test/b.png", ""},
                       {"train/dataset.json", R"({"labels": [["a.png", 3]]})"},
                       {"test/dataset.json", R"({"labels": null})"}});
  expect_error([&] { some.split_labels("auto"); }, {"only some of the files dataset.json have labels"});
}

TEST(FileLabels, DatasetJsonOfAnotherFormIsRefused) {
  const auto expect = [](const std::string& text, const std::vector<std::string>& parts) {
    expect_error(
        [&] { read_dataset_json(std::as_bytes(std::span(text)), "d.json", [](std::string_view, std::int32_t) {}); },
        parts);
  };
  expect("", {"d.json: is no JSON, or cut short"});
  expect(R"({"labels": [["a", 1], [)", {"d.json: is no JSON, or cut short"});
  expect("{}", {"d.json: has no key 'labels'"});
  expect("[]", {"has a list where"});
  expect("7", {"has a number where"});
  expect(R"({"labels": 7})", {"has a number where"});
  expect(R"({"labels": {"a.png": 7}})", {"has an object where"});
  expect(R"({"labels": [7]})", {"has a number where"});
  expect(R"({"labels": [["a", {}]]})", {"has an object where"});
  expect(R"({"labels": [["a"]]})", {"a pair without a name or a label"});
  expect(R"({"labels": [[1, "a"]]})", {"a number where a name is expected"});
  expect(R"({"labels": [["a", 1, 2]]})", {"a number where a name is expected"});
  expect(R"({"labels": [["a", null]]})", {"has null where"});
  expect(R"({"labels": [["a", "cat"]]})", {"the label of 'a' is a text"});
  expect(R"({"labels": [["a", [0.5, 0.25]]]})", {"the label of 'a' is a vector"});
  expect(R"({"labels": [["a", 1.5]]})", {"the label of 'a' is 1.5"});
  expect(R"({"labels": [["a", -1]]})", {"the label of 'a' is -1", "from 0 to 2147483647"});
  expect(R"({"labels": [["a", 2147483648]]})", {"the label of 'a' is 2147483648"});
  expect(R"({"labels": [], "labels": []})", {"two keys 'labels'"});
  expect(std::string(1'000'000, '['), {"d.json: "});
  expect(R"({"x": )" + std::string(1'000'000, '['), {"d.json: is no JSON, or cut short"});
}

TEST(FileLabels, LabelsThatAreMissingOrContradictEachOtherAreRefused) {
  const Labelled missing(
      {{"a.png", ""}, {"b.png", ""}, {"c d.png", ""}, {"dataset.json", R"({"labels": [["b.png", 0]]})"}});
  expect_error([&] { missing.labels("auto"); }, {"2 of 3 images are not named in dataset.json, the first is a.png"});
  const Labelled twice({{"a.png", ""}, {"dataset.json", R"({"labels": [["a.png", 0], ["a.png", 1]]})"}});
  expect_error([&] { twice.labels("auto"); }, {"gives a.png the labels 0 and 1"});
  expect_error([&] { twice.labels("webdataset"); }, {"1 of 1 images have no .cls file beside them"});
  expect_error([&] { twice.labels("directories"); }, {"unknown rule of labels 'directories'", "'directory'"});
}

TEST(FileLabels, FilesBesideImagesAreRead) {
  const Labelled set({{"0/17.png", ""},
                      {"0/17.cls", "7\n"},
                      {"0/17.json", R"({"cls": 1})"},
                      {"0/17.a.png", ""},
                      {"0/171.png", ""},
                      {"0/171.cls", "0"},
                      {"1/17.png", ""},
                      {"1/17.cls", " "},
                      {"1/17.json", "{}"}});
  expect_error([&] { set.labels("auto"); }, {"1/17.cls: holds the label ;"});
  write_bytes(set.folder / "1/17.cls", "123");
  const FileLabels labels = set.labels("auto");
  EXPECT_EQ(labels.rule, "webdataset");
  EXPECT_EQ(labels.splits, (std::vector<Labels>{{7, 7, 0, 123}}));
  EXPECT_EQ(labels.classes, 124);
  for (const char* text : {"-1", "2147483648", "1 2", "seven", "99999999999999999999"}) {
    write_bytes(set.folder / "1/17.cls", text);
    expect_error([&] { set.labels("auto"); }, {"1/17.cls: holds the label ", text});
  }
  write_bytes(set.folder / "1/17.cls", std::string(1000, '1'));
  expect_error([&] { set.labels("auto"); }, {"1/17.cls: holds the label of more than 64 bytes"});

  const Labelled json({{"1.png", ""},
                       {"1.json", R"({"label": 4, "text": "x"})"},
                       {"2.png", ""},
                       {"2.json", R"({"cls": 2, "label": 9})"}});
  EXPECT_EQ(json.labels("auto").splits, (std::vector<Labels>{{4, 2}}));
  write_bytes(json.folder / "2.json", R"({"label": "cat"})");
  expect_error([&] { json.labels("auto"); }, {"2.json: holds the label \"cat\""});
  write_bytes(json.folder / "2.json", "{}");
  expect_error([&] { json.labels("auto"); }, {"1 of 2 images have no .cls file", "the first is 2.png"});
  write_bytes(json.folder / "2.json", "{");
  expect_error([&] { json.labels("auto"); }, {"2.json"});

  const Labelled some({{"1.png", ""}, {"2.png", ""}, {"2.cls", "0"}});
  expect_error([&] { some.labels("auto"); }, {"1 of 2 images have no .cls file", "the first is 1.png"});
}

}  // namespace
}  // namespace couplet::testing
