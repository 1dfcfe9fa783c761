#include "method/data/imagenet_classes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace couplet::testing {
namespace {

TEST(ImagenetClasses, TheOrderIsTheDevelopmentKits) {
  // By its map_clsloc.txt: kit fox, English setter, tench, goldfish, sea snake, flagpole, dumbbell.
  const std::map<int, std::string> known{{1, "n02119789"},   {2, "n02100735"},   {449, "n01440764"}, {450, "n01443537"},
                                         {490, "n01751748"}, {995, "n03355925"}, {1000, "n03255030"}};
  for (const auto& [number, wnid] : known) EXPECT_EQ(imagenet_wnid(number - 1), wnid);
}

TEST(ImagenetClasses, SortedIdentifiersAreThoseOfFolders) {
  const std::vector<std::int32_t> places = imagenet_sorted_classes();
  ASSERT_EQ(places.size(), 1000u);
  std::vector<std::string> sorted(places.size());
  for (std::int32_t i = 0; i < imagenet_class_count; ++i)
    sorted.at(static_cast<std::size_t>(places[static_cast<std::size_t>(i)])) = imagenet_wnid(i);
  EXPECT_TRUE(std::ranges::is_sorted(sorted));
  EXPECT_EQ(std::ranges::adjacent_find(sorted), sorted.end());
  // Of the classes as torchvision's ImageFolder numbers them: tench, goldfish, kit fox, toilet tissue.
  EXPECT_EQ(sorted[0], "n01440764");
  EXPECT_EQ(sorted[1], "n01443537");
  EXPECT_EQ(sorted[278], "n02119789");
  EXPECT_EQ(sorted[999], "n15075141");
  // Labels of the first five images of the validation set: 490, 361, 171, 822, 297 in the development kit, and 65, 970,
  // 230, 809, 516 as folders have them.
  const std::map<int, int> first_labels{{490, 65}, {361, 970}, {171, 230}, {822, 809}, {297, 516}};
  for (const auto& [number, place] : first_labels) EXPECT_EQ(places[static_cast<std::size_t>(number - 1)], place);
}

}  // namespace
}  // namespace couplet::testing
