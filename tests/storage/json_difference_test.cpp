#include "storage/json_difference.h"

#include <gtest/gtest.h>

namespace couplet {
namespace {

using nlohmann::json;

TEST(JsonDifference, NamesEveryKeyThatIsNotTheSameInAll) {
  const json a{{"same", 1}, {"nested", {{"x", {1, 2}}, {"y", "z"}}}, {"only a", nullptr}};
  const json b{{"same", 1}, {"nested", {{"x", {1, 3}}, {"y", "z"}}}, {"a/b~c", true}};
  const auto differences = json_differences({a, b, a});
  ASSERT_EQ(differences.size(), 3U);
  EXPECT_EQ(differences[0].key, "a/b~c");
  EXPECT_EQ(differences[0].values, (std::vector<std::string>{"absent", "true", "absent"}));
  EXPECT_EQ(differences[1].key, "nested.x.1");
  EXPECT_EQ(differences[1].values, (std::vector<std::string>{"2", "3", "2"}));
  EXPECT_EQ(differences[2].key, "only a");
  EXPECT_EQ(differences[2].values, (std::vector<std::string>{"null", "absent", "null"}));
  EXPECT_TRUE(json_differences({a, a}).empty());
  EXPECT_TRUE(json_differences({}).empty());
}

TEST(JsonDifference, TheWholeIsAValue) {
  EXPECT_EQ(json_difference_text(3, "three", "{} is {}, expected {}"), "value is 3, expected \"three\"");
  EXPECT_EQ(json_difference_text(json::object(), json::object(), "{} is {}, expected {}"), "");
}

TEST(JsonDifference, LongValuesAreCut) {
  const auto differences = json_differences({std::string(5000, 'x'), 1});
  ASSERT_EQ(differences.size(), 1U);
  EXPECT_EQ(differences[0].values[0], '"' + std::string(999, 'x') + "...");
}

TEST(JsonDifference, ATextNamesFive) {
  json a = json::object(), b = json::object();
  for (int i = 0; i < 7; ++i) a[std::to_string(i)] = i, b[std::to_string(i)] = -1 - i;
  EXPECT_EQ(json_difference_text(a, b, "{} was {}, now {}"),
            "0 was 0, now -1; 1 was 1, now -2; 2 was 2, now -3; 3 was 3, now -4; 4 was 4, now -5; and 2 more");
}

}  // namespace
}  // namespace couplet
