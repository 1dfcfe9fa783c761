#include "pipeline/distributed/agreement.h"

#include "storage/error.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>

namespace couplet {
namespace {

using Json = nlohmann::json;

/// What is thrown, with its status; "" if nothing is.
std::string refusal(const Json& facts) {
  try {
    require_agreement(ranks(), "their start", facts);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    return error.what();
  }
}

TEST(Agreement, OfRanksThatHaveTheSameFacts) {
  EXPECT_EQ(refusal({{"version", "1.2"}, {"keys", {{"teacher.channels", "64"}}}, {"step", 7}}), "");
  EXPECT_EQ(refusal(Json::object()), "");
}

TEST(Agreement, NamesTheKeyTheValuesAndTheRanks) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  const bool odd = ranks().rank() == 1;
  const std::string text =
      refusal({{"version", "1.2"}, {"keys", {{"teacher.channels", odd ? "128" : "64"}}}, {"step", odd ? 10 : 7}});
  const std::string others = ranks().size() == 2 ? "rank 0" : "ranks 0, 2";
  EXPECT_NE(text.find("the ranks disagree about their start: "), std::string::npos) << text;
  EXPECT_NE(text.find("step is "), std::string::npos) << text;
  EXPECT_NE(text.find("7 on " + others), std::string::npos) << text;
  EXPECT_NE(text.find("10 on rank 1"), std::string::npos) << text;
  EXPECT_NE(text.find("keys/teacher.channels is "), std::string::npos) << text;
  EXPECT_NE(text.find("\"128\" on rank 1"), std::string::npos) << text;
  EXPECT_EQ(text.find("version"), std::string::npos) << text;
}

TEST(Agreement, TakesAMissingKeyForADifference) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  Json facts = {{"dataset", "abc"}};
  if (ranks().rank() == 0) facts["init"] = "def";
  const std::string text = refusal(facts);
  EXPECT_NE(text.find("init is \"def\" on rank 0, absent on rank"), std::string::npos) << text;
}

}  // namespace
}  // namespace couplet
