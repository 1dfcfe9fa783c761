#include "storage/text.h"

#include <gtest/gtest.h>

#include <limits>

namespace couplet {
namespace {

TEST(DurationText, IsShort) {
  EXPECT_EQ(duration_text(0.4), "0 s");
  EXPECT_EQ(duration_text(42), "42 s");
  EXPECT_EQ(duration_text(59.6), "1m 00s");
  EXPECT_EQ(duration_text(190), "3m 10s");
  EXPECT_EQ(duration_text(3599), "59m 59s");
  EXPECT_EQ(duration_text(3720), "1h 02m");
  EXPECT_EQ(duration_text(7199), "2h 00m");
  EXPECT_EQ(duration_text(360000), "100h 00m");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "unknown");
}

TEST(BytesText, HasTwoOrThreeDigits) {
  EXPECT_EQ(bytes_text(0), "0 bytes");
  EXPECT_EQ(bytes_text(1023), "1023 bytes");
  EXPECT_EQ(bytes_text(1365 * 1024), "1.3 MiB");
  EXPECT_EQ(bytes_text(std::int64_t{42} << 20), "42 MiB");
  EXPECT_EQ(bytes_text(std::int64_t{20} << 30), "20 GiB");
}

TEST(NumberText, HasThreeDigits) {
  EXPECT_EQ(number_text(15.83), "15.8");
  EXPECT_EQ(number_text(0.0386), "0.0386");
  EXPECT_EQ(number_text(1234.5), "1234");
  EXPECT_EQ(number_text(0), "0");
  EXPECT_EQ(number_text(1e-7), "1.00e-07");
}

TEST(RangesText, HasTheEndsOfEachRun) {
  EXPECT_EQ(ranges_text({}), "");
  EXPECT_EQ(ranges_text({4}), "4");
  EXPECT_EQ(ranges_text({0, 3, 7, 8, 9}), "0, 3, 7-9");
  EXPECT_EQ(ranges_text({1, 2, 5}), "1-2, 5");
}

TEST(Utf8Text, WritesBytesThatAreNoCharacterAsNumbers) {
  for (const std::string text : {"", "plain", "größe", "\u20ac 5", "\U0001F600", "a\nb"})
    EXPECT_EQ(utf8_text(text), text);
  EXPECT_EQ(utf8_text("gr\xfc"), "gr\\xFC");
  EXPECT_EQ(utf8_text("\xf6 and größe"), "\\xF6 and größe");
  EXPECT_EQ(utf8_text("cut \xe2\x82"), "cut \\xE2\\x82");
  EXPECT_EQ(utf8_text("\xc0\xaf"), "\\xC0\\xAF") << "a slash in more bytes than it needs";
  EXPECT_EQ(utf8_text("\xed\xa0\x80"), "\\xED\\xA0\\x80") << "half of a pair";
  EXPECT_EQ(utf8_text("\xf4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80") << "beyond U+10FFFF";
}

TEST(NearestName, IsAtTheSmallestDistance) {
  EXPECT_EQ(nearest_name("teacher.chanels", {"student.channels", "teacher.channels", "teacher.blocks"}),
            "teacher.channels");
  EXPECT_EQ(nearest_name("", {"abc", "d"}), "d");
  // A file of others may have a name of any length, which must not take minutes.
  const std::vector<std::string> names(100, std::string(100, 'a'));
  EXPECT_EQ(nearest_name(std::string(20'000'000, 'a'), names), names[0]);
}

TEST(Text, NamesStandInTheOrderInWhichPeopleCount) {
  const std::vector<std::string> ordered{"",  "0/b", "1",  "2",   "10",    "10/a",   "10/b",
                                         "a", "a01", "a1", "a1b", "a2/x9", "a2/x10", "a18446744073709551616",
                                         "b"};
  for (std::size_t i = 0; i < ordered.size(); ++i)
    for (std::size_t j = 0; j < ordered.size(); ++j)
      EXPECT_EQ(natural_less(ordered[i], ordered[j]), i < j) << ordered[i] << " " << ordered[j];
}

}  // namespace
}  // namespace couplet
