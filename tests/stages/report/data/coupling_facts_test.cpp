// What the report reads of a coupling table, against figures found by hand.
#include "stages/report/data/coupling_facts.h"

#include "method/tables/coupling_table.h"
#include "method/tables/seeds_table.h"
#include "stages/report/html/template.h"
#include "storage/formats/picture.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace couplet {
namespace {

class CouplingFactsOf : public ::testing::Test {
protected:
  std::filesystem::path table = std::filesystem::path(::testing::TempDir()) / "coupling_facts_test";

  /// Four rows of 2x2 values with sigma_f = 2: z = -1 in the last row, 1 elsewhere; images count from 0.
  void SetUp() override {
    std::filesystem::remove_all(table);
    std::filesystem::create_directories(table);
    const ShardPlan plan{4, 4};
    at::Tensor noise = at::full({4, 1, 2, 2}, 2.0, at::kHalf);
    noise[3].fill_(-2.0);
    const at::Tensor values[] = {noise,
                                 at::arange(16, at::kByte).view({4, 1, 2, 2}),
                                 at::zeros({4}, at::kInt),
                                 at::arange(4, at::kLong),
                                 at::zeros({4}, at::kByte),
                                 at::zeros({4}, at::kInt),
                                 at::zeros({4}, at::kFloat),
                                 at::full({4}, -1, at::kFloat)};
    RowShardWriter writer(table / shard_name(0, 1),
                          {coupling_format, 1, 0, 4, 4, {{"kind", "nf"}, {"split", "test"}, {"teacher", "a"}}},
                          coupling_columns({1, 2, 10, {}}, ElementType::float16));
    std::size_t column = 0;
    for (const at::Tensor& rows : values)
      writer.write(column++, 0, {static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
    writer.finish({{"nonfinite_rows", 0}});
    publish_manifest(table, plan, coupling_format, {{"sigma_f", 2.0}, {"nll_mean", -1.0224}, {"nonfinite_rows", 0}});
  }
  void TearDown() override { std::filesystem::remove_all(table); }

  std::string text(const CouplingFacts& facts) {
    const Templates templates = report_templates();
    std::string all;
    for (const Json& fact : facts.facts)
      all += render(templates, "table_fact_name", fact, Escape::none) + ": " +
             render(templates, "table_fact_text", fact, Escape::none) + "\n";
    return all;
  }
};

TEST_F(CouplingFactsOf, AWholeTable) {
  const auto found = read_coupling_facts(table, *pixel_codec());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "nf");
  EXPECT_TRUE(found->held_out);
  for (const char* part :
       {"rows: 4 in 1 shard\n", "σ_f, root mean square of f(x): 2.00", "a value: -1.02", "mean 1.00, variance 3.00"})
    EXPECT_NE(text(*found).find(part), std::string::npos) << part << " is not in\n" << text(*found);
  EXPECT_EQ(text(*found).find("first"), std::string::npos) << "all rows are read";
  // 60 bins of 8/60: z = 1 and z = -1 lie in the middle of theirs; 12 and 4 of 16 values.
  ASSERT_EQ(found->noise.size(), 60U);
  EXPECT_NEAR(found->noise[37].first, 1, 1e-9);
  EXPECT_NEAR(found->noise[37].second, 12.0 / 16 / (8.0 / 60), 1e-9);
  EXPECT_NEAR(found->noise[22].second, 4.0 / 16 / (8.0 / 60), 1e-9);
  double area = 0;
  for (const auto& [z, density] : found->noise) area += density * 8 / 60;
  EXPECT_NEAR(area, 1, 1e-9);
}

TEST_F(CouplingFactsOf, ItsFirstRowsImageBesideNoise) {
  const auto found = read_coupling_facts(table, *pixel_codec());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pictured_rows, 4);
  std::ofstream(table / "rows.png", std::ios::binary) << found->picture;
  const Picture picture = read_png(table / "rows.png");
  // Panels of 2 pixels, gaps of 2: image 0, its z, image 1, ...; z = 1 is (1/3 + 1) 127.5 = 170, z = -1 is 85.
  EXPECT_EQ(picture.pixels.at(0), 0);
  EXPECT_EQ(picture.pixels.at(1), 1);
  EXPECT_EQ(picture.pixels.at(4), 170);
  EXPECT_EQ(picture.pixels.at(8), 4);
  EXPECT_EQ(picture.pixels.at(28), 85);
}

TEST_F(CouplingFactsOf, ATableOfSeeds) {
  std::filesystem::remove(table / manifest_name);
  RowShardWriter writer(table / shard_name(0, 1), {seeds_format, 1, 0, 2, 2, {{"kind", "sd"}, {"split", "train"}}},
                        seeds_columns());
  const at::Tensor values[] = {at::tensor({7, 9}, at::kLong), at::zeros({2}, at::kInt), at::tensor({0, 1}, at::kLong),
                               at::zeros({2}, at::kByte)};
  std::size_t column = 0;
  for (const at::Tensor& rows : values)
    writer.write(column++, 0, {static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
  writer.finish({{"nonfinite_rows", 0}});
  publish_manifest(table, {2, 2}, seeds_format, nlohmann::json::object());
  const auto found = read_coupling_facts(table, *pixel_codec());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->name, "sd");
  EXPECT_EQ(text(*found), "rows: 2 in 1 shard\n");
  EXPECT_TRUE(found->picture.empty());
}

TEST_F(CouplingFactsOf, UnfinishedOrDamagedTables) {
  std::filesystem::remove(table / shard_name(0, 1));
  const auto damaged = read_coupling_facts(table, *pixel_codec());
  ASSERT_TRUE(damaged);
  EXPECT_NE(text(*damaged).find("rows: 4 in 1 shard"), std::string::npos) << "the manifest is there";
  EXPECT_NE(text(*damaged).find(shard_name(0, 1)), std::string::npos) << text(*damaged);
  EXPECT_TRUE(damaged->picture.empty());
  std::filesystem::remove(table / manifest_name);
  EXPECT_FALSE(read_coupling_facts(table, *pixel_codec()));
}

}  // namespace
}  // namespace couplet
