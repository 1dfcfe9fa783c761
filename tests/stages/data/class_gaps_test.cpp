#include "stages/data/class_gaps.h"

#include <gtest/gtest.h>

namespace couplet::testing {
namespace {

void expect_says(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(ClassGaps, ClassesWithoutTrainingImagesAreNamed) {
  EXPECT_EQ(class_gaps({1, 5, 2}, {0, 1, 1}), "");
  EXPECT_EQ(class_gaps({7}, {3}), "");
  const std::string from_one = class_gaps({0, 5, 2, 3}, {0, 1, 1, 1});
  expect_says(from_one, "of 4 classes, no training image that is used has the label 0: ");
  EXPECT_EQ(from_one.find("test images"), std::string::npos) << from_one;
}

TEST(ClassGaps, ManyAreNamedByRanges) {
  std::vector<std::int64_t> train(256), test(256);
  train[0] = train[1] = train[4] = train[255] = 1;
  expect_says(class_gaps(train, test), "of 256 classes, no training image that is used has the label 2-3, 5-254: ");
}

TEST(ClassGaps, AClassOfTestImagesAloneIsNamed) {
  expect_says(class_gaps({4, 4, 0, 4, 0, 0}, {1, 1, 0, 1, 0, 2}), "the label 2, 4-5: ");
  expect_says(class_gaps({4, 4, 0, 4, 0, 0}, {1, 1, 0, 1, 0, 2}), "test images have 5.");
}

}  // namespace
}  // namespace couplet::testing
