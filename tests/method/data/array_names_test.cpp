#include "method/data/array_names.h"

#include "tests/storage/storage_testing.h"

namespace couplet::testing {
namespace {

/// A file that has arrays of these names.
class NamesOnly : public ForeignFile {
public:
  explicit NamesOnly(std::vector<std::string> names) : names_(std::move(names)) {}
  std::vector<std::string> names() const override { return names_; }
  std::unique_ptr<ForeignArray> open(const std::string&) override { return nullptr; }

private:
  std::vector<std::string> names_;
};

/// "train images|train labels|test images|test labels"
std::string found_in(const std::vector<std::string>& names, const ArrayOptions& options = {}) {
  const ArrayNames found = find_array_names(NamesOnly(names), "set", options);
  return found.train.images + "|" + found.train.labels + "|" + found.test.images + "|" + found.test.labels;
}

TEST(ArrayNames, UsualNamesAreFound) {
  EXPECT_EQ(found_in({"x_test", "x_train", "y_test", "y_train"}), "x_train|y_train|x_test|y_test");
  EXPECT_EQ(found_in({"X_train", "Y_train", "X_test", "Y_test"}), "X_train|Y_train|X_test|Y_test");
  EXPECT_EQ(found_in({"train_images", "val_images", "test_images", "train_labels", "val_labels", "test_labels"}),
            "train_images|train_labels|test_images|test_labels");
  EXPECT_EQ(found_in({"train_images", "val_images", "train_labels", "val_labels"}),
            "train_images|train_labels|val_images|val_labels");
  EXPECT_EQ(found_in({"train/images", "train/labels", "test/images", "test/labels"}),
            "train/images|train/labels|test/images|test/labels");
  EXPECT_EQ(found_in({"train_set_x", "train_set_y", "test_set_x", "test_set_y"}),
            "train_set_x|train_set_y|test_set_x|test_set_y");
  EXPECT_EQ(found_in({"images", "labels"}), "images|labels||");
  EXPECT_EQ(found_in({"arr_0", "arr_1"}), "arr_0|arr_1||");
  EXPECT_EQ(found_in({"data", "labels"}), "data|labels||");
  EXPECT_EQ(found_in({"faces"}), "faces|||");
  EXPECT_EQ(found_in({"test", "train"}), "train||test|");
  EXPECT_EQ(found_in({"images", "labels", "test_images", "test_labels"}), "images|labels|test_images|test_labels");
}

TEST(ArrayNames, OptionsSayWhatIsMeant) {
  const std::vector<std::string> names{"faces", "ages", "more", "more_ages"};
  EXPECT_EQ(found_in(names, {.train_images = "faces", .train_labels = "ages"}), "faces|ages||");
  EXPECT_EQ(found_in(names, {.train_images = "faces", .train_labels = "none"}), "faces|||");
  EXPECT_EQ(
      found_in(names,
               {.train_images = "faces", .train_labels = "ages", .test_images = "more", .test_labels = "more_ages"}),
      "faces|ages|more|more_ages");
  EXPECT_EQ(found_in({"x_train", "y_train", "x_test", "y_test"}, {.train_labels = "none", .test_labels = "none"}),
            "x_train||x_test|");
}

TEST(ArrayNames, WhatIsNotClearIsRefusedWithTheKey) {
  expect_error(
      [] {
        found_in({"faces", "ages"});
      },
      {"set: none of its arrays", "prepare.array-train-images", "faces, ages"});
  expect_error(
      [] {
        found_in({"images", "data", "labels"});
      },
      {"images, data could each be meant", "prepare.array-train-images"});
  expect_error(
      [] {
        found_in({"images", "labels", "targets"});
      },
      {"labels, targets could each be meant", "prepare.array-train-labels"});
  expect_error(
      [] {
        found_in({"images", "ages"});
      },
      {"no array has a name that labels usually have", "prepare.array-train-labels", "ages", "none"});
  expect_error([] { found_in({"images"}, {.train_images = "faces"}); },
               {"prepare.array-train-images = faces", "no such array", "it has images"});
  expect_error(
      [] {
        found_in({"x_train", "y_train", "x_test"});
      },
      {"'x_train' have labels, but 'x_test' have none", "prepare.array-test-labels"});
  expect_error(
      [] {
        found_in({"x_train", "x_test", "y_test"}, {.train_labels = "none"});
      },
      {"'x_test' have labels, but 'x_train' have none"});
  expect_error([] { found_in({"test"}); }, {"cannot be both", "prepare.array-train-images"});
  expect_error([] { found_in({}); }, {"set: none of its arrays", "nothing"});
}

}  // namespace
}  // namespace couplet::testing
