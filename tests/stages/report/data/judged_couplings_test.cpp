// Which couplings of a run are judged, by what, and what they cost.
#include "stages/report/data/judged_couplings.h"

#include "method/data/dataset.h"
#include "method/statistics/coupling_quality.h"
#include "method/tables/coupling_table.h"
#include "pipeline/config/options.h"
#include "pipeline/run/stage_record.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace couplet {
namespace {

constexpr std::int64_t judged_table_rows = 40;

class JudgedCouplings : public ::testing::Test {
protected:
  std::filesystem::path root = std::filesystem::path(::testing::TempDir()) / "judged_couplings_test";
  RunDirectory run{root};
  Config config;
  StageGraph graph{{.name = "prepare", .kind = "prepare"},
                   {.name = "teacher", .kind = "teacher", .inputs = {"prepare"}},
                   {.name = "coupling/nf", .kind = "couple", .table = "nf", .inputs = {"prepare", "teacher"}},
                   {.name = "student/nf-0", .kind = "student", .student = "nf"},
                   {.name = "student/plain-0", .kind = "student", .student = "plain"},
                   {.name = "student/plain-1", .kind = "student", .student = "plain"},
                   {.name = "student/other-0", .kind = "student", .student = "other"}};
  at::Tensor image = at::randint(256, {judged_table_rows, 1, 2, 2}, at::kByte),
             label = at::arange(judged_table_rows, at::kInt).remainder(3);
  at::Tensor noise = 2 * at::randn({judged_table_rows, 1, 2, 2});

  void SetUp() override { std::filesystem::remove_all(root); }
  void TearDown() override { std::filesystem::remove_all(root); }

  void write_rows(const std::filesystem::path& table, const std::string& format, const std::vector<Column>& columns,
                  const std::vector<at::Tensor>& values, const nlohmann::json& summary) {
    std::filesystem::create_directories(table);
    RowShardWriter writer(table / shard_name(0, 1), {format, 1, 0, judged_table_rows, 20, nlohmann::json::object()},
                          columns);
    std::size_t column = 0;
    for (const at::Tensor& each : values)
      writer.write(column++, 0, {static_cast<const std::byte*>(each.const_data_ptr()), each.nbytes()});
    writer.finish({{"nonfinite_rows", 0}});
    publish_manifest(table, {judged_table_rows, judged_table_rows}, format, summary);
  }
  void write_tables() {
    const std::vector<Column> columns = coupling_columns({1, 2, 3, {}}, ElementType::float32);
    write_rows(run.train_images(), dataset_format, {columns[1], columns[2]}, {image, label}, nlohmann::json::object());
    for (const char* split : {"train", "test"})
      write_rows(run.table("nf", split), coupling_format, {columns[0], columns[1], columns[2]}, {noise, image, label},
                 {{"sigma_f", 2.0}});
  }
  void write_record(const std::string& stage, double seconds, StageState state = StageState::complete) {
    StageRecord record = new_record(find_node(graph, stage), graph);
    record.state = state;
    record.seconds = seconds;
    std::filesystem::create_directories(run.stage(stage));
    publish_record(run.stage(stage), record);
  }
  void write_drawn(const std::string& stage, const std::string& coupling, std::int64_t judged) {
    std::filesystem::create_directories(run.stage(stage));
    publish_file(run.drawn_quality(stage), nlohmann::json{{"coupling", coupling}, {"rows", judged}}.dump());
  }
  std::vector<JudgedCoupling> judge() { return judge_couplings({config, run, graph}); }
};

TEST_F(JudgedCouplings, ATableByItsRowsWithItsCost) {
  write_tables();
  write_record("teacher", 120);
  write_record("coupling/nf", 16);
  const auto found = judge();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].coupling, "nf");
  EXPECT_EQ(found[0].student, "");
  EXPECT_EQ(found[0].seconds, 16);
  EXPECT_EQ(found[0].rate, 2 * judged_table_rows / 16.0) << "training and held-out rows";
  EXPECT_EQ(found[0].teacher_seconds, 120);
  EXPECT_EQ(found[0].quality, judge_pairs(pixel_codec()->encode(image), noise / 2.0, label.to(at::kLong)));
}

TEST_F(JudgedCouplings, WithoutATableByWhatTheFirstSeedOfAStudentHasDrawn) {
  write_drawn("student/plain-1", "independent", 30);
  write_drawn("student/other-0", "independent", 50);
  auto found = judge();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].student, "plain");
  EXPECT_EQ(found[0].coupling, "independent");
  EXPECT_EQ(found[0].quality, (nlohmann::ordered_json{{"rows", 30}}));
  EXPECT_FALSE(found[0].seconds || found[0].rate || found[0].teacher_seconds);
  EXPECT_EQ(found[1].student, "other");
  write_drawn("student/plain-0", "independent", 20);
  found = judge();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].quality.at("rows"), 20);
}

TEST_F(JudgedCouplings, WhatIsNotFinishedOrCannotBeReadIsLeftOut) {
  EXPECT_TRUE(judge().empty());
  write_tables();
  write_record("coupling/nf", 16, StageState::started);
  const auto found = judge();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_FALSE(found[0].seconds || found[0].rate || found[0].teacher_seconds) << "nobody knows yet";
  std::filesystem::remove(run.stage("coupling/nf") / "quality.json");
  std::filesystem::remove(run.table("nf", "train") / shard_name(0, 1));
  EXPECT_TRUE(judge().empty());
}

// What was found of a table is found once, and anew where it has other rows.
TEST_F(JudgedCouplings, ATableIsJudgedOnceAndAnewWithOtherRows) {
  write_tables();
  const auto first = judge();
  ASSERT_EQ(first.size(), 1U);
  const auto kept = run.stage("coupling/nf") / "quality.json";
  auto known = nlohmann::ordered_json::parse(read_file(kept));
  known["quality"]["rows"] = 12345;
  publish_file(kept, known.dump());
  EXPECT_EQ(judge()[0].quality.at("rows"), 12345);
  noise = noise * 3;
  write_tables();
  EXPECT_EQ(judge()[0].quality.at("rows"), first[0].quality.at("rows"));
  EXPECT_NE(judge()[0].quality, first[0].quality);
}

}  // namespace
}  // namespace couplet
