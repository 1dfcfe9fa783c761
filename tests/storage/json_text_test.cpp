#include "storage/json_text.h"

#include "tests/storage/storage_testing.h"

namespace couplet::testing {
namespace {

using nlohmann::json;

std::string nested(int levels) {
  const auto count = static_cast<std::size_t>(levels);
  return std::string(count, '[') + std::string(count, ']');
}

TEST(JsonText, ReadsWhatIsNotTooDeep) {
  EXPECT_EQ(parse_json(R"({"a": [1, {"b": null}], "c": "\u00fc"})", "it"),
            (json{{"a", {1, {{"b", nullptr}}}}, {"c", "\xc3\xbc"}}));
  EXPECT_EQ(parse_json(" 3 ", "it", 0), 3);
  EXPECT_EQ(parse_json(nested(3), "it", 3).dump(), "[[[]]]");
  EXPECT_NO_THROW(parse_json(nested(deepest_json), "it"));
  EXPECT_NO_THROW(parse_json("[[1], [2], [3], {}]", "it", 2));
}

TEST(JsonText, TooManyLevelsAreAnErrorHoweverManyThereAre) {
  expect_error([] { parse_json(nested(4), "x/file", 3); }, {"x/file", "more than 3 levels"});
  expect_error([] { parse_json(nested(1'000'000), "x/file"); }, {"x/file", "more than 32 levels"});
  expect_error([] { parse_json(std::string(1'000'000, '['), "x/file"); }, {"x/file", "more than 32 levels"});
  std::string objects;
  for (int i = 0; i < 200'000; ++i) objects += R"({"a":)";
  expect_error([&] { parse_json(objects, "x/file"); }, {"x/file", "more than 32 levels"});
}

TEST(JsonText, WhatIsNoJsonIsSaidInOwnWords) {
  const auto expect = [](const std::string& text, const std::vector<std::string>& parts) {
    expect_error([&] { parse_json(text, "x/file"); }, parts);
    try {
      parse_json(text, "x/file");
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find("json.exception"), std::string::npos) << error.what();
    }
  };
  expect("", {"x/file", "no JSON", "byte 1 of its 0 bytes"});
  expect("[1, 2", {"x/file", "no JSON", "byte 6 of its 5 bytes"});
  expect("[1] 2", {"x/file", "no JSON", "byte 5"});
  expect("<html>", {"x/file", "no JSON", "byte 1 of its 6 bytes"});
  expect("[\"\xff\"]", {"x/file", "no UTF-8"});
  expect("\xfc", {"x/file", "no UTF-8"});
  expect("[1e999]", {"x/file", "number that is too large"});
  expect(R"({"a": 1, "b": {"a": 2}, "a": 3})", {"x/file", "\"a\"", "twice"});
}

TEST(JsonText, AnExcerptIsShortUtf8OnOneLine) {
  EXPECT_EQ(json_excerpt(json{{"a", {1, 2}}}), R"({"a":[1,2]})");
  EXPECT_EQ(json_excerpt("a\nb"), R"("a\nb")");
  EXPECT_EQ(json_excerpt("\xff"), "\"\xef\xbf\xbd\"");
  EXPECT_EQ(json_excerpt("12345", 4), "\"123...");
  EXPECT_EQ(json_excerpt("1\xc3\xbc", 3), "\"1...");
  EXPECT_EQ(json_excerpt("1\xc3\xbc", 4), "\"1\xc3\xbc...");
}

TEST(JsonText, AMemberThatIsMissingOrElseIsNamed) {
  const json object{{"rows", 3}, {"name", "x"}};
  EXPECT_EQ(json_member<int>(object, "rows", "x/file"), 3);
  EXPECT_EQ(json_member<std::string>(object, "name", "x/file"), "x");
  expect_error([&] { json_member<int>(object, "none", "x/file"); }, {"x/file", "no key 'none'"});
  expect_error([&] { json_member<int>(object, "name", "x/file"); }, {"x/file", "\"x\"", "'name'"});
  expect_error([&] { json_member<int>(json(3), "rows", "x/file"); }, {"x/file", "no key 'rows'"});
}

TEST(JsonText, NumbersAreTakenWhole) {
  const json object =
      json::parse(R"({"a": 1e300, "b": 2.5, "c": 4294967297, "d": 18446744073709551615, "e": -1, "f": 2})");
  const auto expect = [&](const char* key, const std::string& found) {
    expect_error([&] { json_member<int>(object, key, "x/file"); }, {"x/file", found, key});
  };
  expect("a", "1e+300");
  expect("b", "2.5");
  expect("c", "4294967297");
  expect("d", "18446744073709551615");
  expect_error([&] { json_member<std::int64_t>(object, "d", "x/file"); }, {"18446744073709551615"});
  expect_error([&] { json_member<std::uint64_t>(object, "e", "x/file"); }, {"-1"});
  EXPECT_EQ(json_member<int>(object, "e", "x/file"), -1);
  EXPECT_EQ(json_member<double>(object, "f", "x/file"), 2);
  EXPECT_EQ(json_as<bool>(object.at("f")), std::nullopt);
}

}  // namespace
}  // namespace couplet::testing
