// A data set of shards as the source of another.
#include "method/data/dataset.h"
#include "method/data/image_source.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/table_manifest.h"
#include "tests/storage/storage_testing.h"

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <span>

namespace couplet::testing {
namespace {

/// Images of 3 x 2 x 2 in shards of 7, all values of row i being 3 i; the classes come round.
void write_dataset(const fs::path& folder, std::int64_t rows, int classes, const char* codec = "uint8") {
  fs::create_directories(folder);
  const ShardPlan plan{rows, 7};
  const nlohmann::json provenance{
      {"dataset", "set"}, {"split", "train"}, {"classes", classes}, {"codec", codec}, {"content", "none"}};
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
    const std::int64_t first = plan.first_row(shard), count = plan.rows_of(shard);
    RowShardWriter writer(
        folder / shard_name(shard, plan.shards()), {dataset_format, newest_shard_version, first, count, 4, provenance},
        {{"image", ElementType::uint8, {3, 2, 2}, "values"}, {"label", ElementType::int32, {}, "class"}});
    for (std::int64_t i = 0; i < count; ++i) {
      const std::vector<std::uint8_t> image(12, static_cast<std::uint8_t>(3 * (first + i)));
      const auto label = static_cast<std::int32_t>(classes == 0 ? 0 : (first + i) % classes);
      writer.write(0, i, std::as_bytes(std::span(image)));
      writer.write(1, i, std::as_bytes(std::span(&label, 1)));
    }
    writer.finish(nlohmann::json::object());
  }
  publish_manifest(folder, plan, dataset_format, nlohmann::json::object());
}

SourceOptions table_in(const fs::path& folder) {
  SourceOptions options;
  options.folder = folder;
  return options;
}

ImageSource open_table_in(const fs::path& folder) {
  return find_source("table").open(table_in(folder));
}

TEST(TableSource, BothSplitsOfARunAreTakenOver) {
  const Folder folder;
  write_dataset(folder / "run/prepare/train", 20, 3);
  write_dataset(folder / "run/prepare/test", 9, 3);
  for (const char* name : {"run", "run/prepare"}) {
    const ImageSource source = open_table_in(folder / name);
    EXPECT_EQ(source.classes, 3);
    EXPECT_EQ(source.train->shape().images, 20);
    EXPECT_EQ(source.test->shape().images, 9);
    EXPECT_EQ(source.train->shape().image_text(), "3 x 2 x 2");
    const at::Tensor read = source.train->read(5, 10);
    for (std::int64_t i = 0; i < 10; ++i) EXPECT_TRUE(read[i].eq(3 * (5 + i)).all().item<bool>());
    EXPECT_EQ(source.train->label(16), 1);
    EXPECT_NE(source.train->image_name(16).find("row 16 of "), std::string::npos);
    EXPECT_EQ(find_source("table").files(table_in(folder / name)).size(), 2u);
  }
  const std::string hash = open_table_in(folder / "run").train->content_hash();
  fs::rename(folder / "run", folder / "moved");
  EXPECT_EQ(open_table_in(folder / "moved").train->content_hash(), hash);
}

TEST(TableSource, OneTableIsDivided) {
  const Folder folder;
  write_dataset(folder / "all", 40, 2);
  const ImageSource source = open_table_in(folder / "all");
  EXPECT_EQ(source.train->shape().images, 36);
  EXPECT_EQ(source.test->shape().images, 4);
  for (std::int64_t i = 0; i < 36; ++i) {
    const int row = std::stoi(source.train->image_name(i).substr(4));
    EXPECT_EQ(source.train->read(i, 1).flatten()[0].item<int>(), 3 * row);
    EXPECT_EQ(source.train->label(i), row % 2);
  }
  EXPECT_EQ(find_source("table").files(table_in(folder / "all")).front().path, folder / "all" / "manifest.json");
}

TEST(TableSource, WhatIsNoDataSetIsRefused) {
  const Folder folder;
  expect_error([&] { open_table_in(folder.path()); }, {"holds no data set", "manifest.json"});
  EXPECT_TRUE(find_source("table").files(table_in(folder.path())).empty());
  EXPECT_EQ(find_source("table").files(table_in(folder / "none")).size(), 1u);
  write_dataset(folder / "a/train", 20, 3);
  write_dataset(folder / "a/test", 9, 2);
  expect_error([&] { open_table_in(folder / "a"); }, {"has 3 classes", "has 2", "not of one data set"});
  write_dataset(folder / "b", 20, 3, "float");
  expect_error([&] { open_table_in(folder / "b"); }, {"b: its images are uint8", "the codec float"});
  write_dataset(folder / "c", 20, 3);
  fs::remove(folder / "c" / shard_name(2, 3));
  const ImageSource source = find_source("table").open([&] {
    write_dataset(folder / "d", 20, 3);
    return table_in(folder / "d");
  }());
  expect_error([&] { open_table_in(folder / "c"); }, {shard_name(2, 3)});
  fs::remove(folder / "d" / shard_name(1, 3));
  expect_error([&] { source.train->content_hash(); }, {shard_name(1, 3)});
}

}  // namespace
}  // namespace couplet::testing
