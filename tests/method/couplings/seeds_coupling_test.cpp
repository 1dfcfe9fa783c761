// Tables of seeds: what is written is read, and students draw the pairs that stand there.
#include "method/tables/seeds_rows.h"
#include "method/tables/seeds_table_writer.h"

#include "method/couplings/coupling.h"
#include "method/data/noise.h"
#include "pipeline/loader/row_order.h"
#include "pipeline/loader/table_rows.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <span>

namespace couplet::testing {
namespace {

constexpr std::int64_t samples = 40, seeds_block = 8, seeds_window = 2;

void write_images(const fs::path& directory, const at::Tensor& images, const at::Tensor& labels) {
  fs::create_directories(directory);
  const std::vector<Column> columns{{"image", ElementType::uint8, {2, 4, 4}, ""},
                                    {"label", ElementType::int32, {}, ""}};
  RowShardWriter writer(directory / shard_name(0, 1),
                        {"couplet-dataset", newest_shard_version, 0, samples, 10, nlohmann::json::object()}, columns);
  writer.write(0, 0, {static_cast<const std::byte*>(images.const_data_ptr()), images.nbytes()});
  writer.write(1, 0, {static_cast<const std::byte*>(labels.const_data_ptr()), labels.nbytes()});
  writer.finish(nlohmann::json::object());
  publish_manifest(directory, {samples, samples}, "couplet-dataset", nlohmann::json::object());
}

/// Images of which some have no noise, some several, some for their mirror images only.
struct SeededImages {
  Folder folder;
  at::Tensor images = at::randint(256, {samples, 2, 4, 4}, at::kByte);
  at::Tensor labels = at::arange(samples, at::kInt).remainder(7);
  SeedRows rows;
  CouplingSources sources;

  SeededImages() {
    write_images(folder / "images", images, labels);
    for (std::int64_t sample = 0; sample < samples; ++sample)
      for (std::int64_t k = 0; k < sample % 4; ++k) {
        const bool flip = sample % 3 == 0 || k > 1;
        rows.sample.push_back(sample);
        rows.flip.push_back(flip ? 1 : 0);
        rows.noise_id.push_back(1000 * k + sample);
        rows.label.push_back(static_cast<std::int32_t>(sample % 7));
      }
    sources = {.train_images = folder / "images",
               .test_images = folder / "images",
               .train_table = folder / "seeds",
               .test_table = {},
               .reads = {},
               .window_blocks = seeds_window,
               .seed = 11,
               .held_out_seed = 3,
               .codec = pixel_codec()};
  }

  std::int64_t count() const { return std::ssize(rows.sample); }
  SeedRows part(std::int64_t first, std::int64_t number) const {
    const auto cut = [&](const auto& column) {
      return std::decay_t<decltype(column)>(column.begin() + first, column.begin() + first + number);
    };
    return {cut(rows.noise_id), cut(rows.label), cut(rows.sample), cut(rows.flip)};
  }
  void write(const std::string& dataset) const {
    fs::create_directories(sources.train_table);
    write_seeds_table(
        sources.train_table, {{count(), 24}, seeds_block, {{"kind", "sd"}, {"dataset", dataset}, {"seed", 5}}},
        [this](std::int64_t first, std::int64_t number) { return part(first, number); }, {{"chi2", 0.25}});
  }
  std::string dataset() const { return RowTable(sources.train_images, "couplet-dataset").content_hash(); }
};

TEST(SeedsTable, HoldsWhatWasWrittenInShards) {
  const SeededImages all;
  all.write("abc");
  const RowTable table(all.sources.train_table, seeds_format);
  EXPECT_EQ(table.plan().shards(), 3);
  EXPECT_EQ(table.summary().at("chi2"), 0.25);
  EXPECT_TRUE(read_rows(table, "noise_id", 0, all.count()).equal(at::tensor(all.rows.noise_id, at::kLong)));
  EXPECT_TRUE(read_rows(table, "sample", 0, all.count()).equal(at::tensor(all.rows.sample, at::kLong)));
  EXPECT_TRUE(read_rows(table, "flip", 0, all.count()).to(at::kLong).sum().item<std::int64_t>() > 0);
}

TEST(SeedsTable, RowsOutOfOrderAreNamed) {
  SeededImages all;
  std::swap(all.rows.noise_id[3], all.rows.noise_id[4]);
  std::swap(all.rows.sample[3], all.rows.sample[4]);
  all.rows.sample[30] = 0;
  expect_error([&] { all.write("abc"); }, {"row "});
  EXPECT_FALSE(fs::exists(all.sources.train_table / "manifest.json"));
}

TEST(SeedsCoupling, DrawsTheTablesPairs) {
  const SeededImages all;
  all.write(all.dataset());
  const auto coupling = find_coupling("sd").make(all.sources);
  RowOrder order(all.count(), seeds_block, seeds_window, 11);
  for (const BatchRange& range :
       {BatchRange{0, 0, 12}, BatchRange{1, 12, 12}, BatchRange{7, all.count() - 5, 40}, BatchRange{3, 7, 1}}) {
    const Pairs pairs = coupling->draw(range);
    const std::vector<std::int64_t> rows = order.at(range.first, range.rows);
    for (std::int64_t i = 0; i < range.rows; ++i) {
      const auto row = static_cast<std::size_t>(rows[static_cast<std::size_t>(i)]);
      at::Tensor image = all.images[all.rows.sample[row]];
      if (all.rows.flip[row] != 0) image = image.flip({2});
      EXPECT_TRUE(pairs.image[i].equal(pixel_codec()->encode(image))) << row;
      EXPECT_EQ(pairs.label[i].item<std::int64_t>(), all.rows.label[row]);
      const at::Tensor noise = normal_rows({2, 4, 4}, 5, Purpose::table_noise, {all.rows.noise_id[row]});
      EXPECT_TRUE(pairs.noise[i].equal(noise[0])) << "by the table's seed, not the student's";
    }
  }
  EXPECT_TRUE(coupling->provenance().contains("table"));
  EXPECT_TRUE(coupling->state().empty());
}

TEST(SeedsCoupling, HeldOutImagesHaveFreshNoise) {
  const SeededImages all;
  all.write(all.dataset());
  const auto coupling = find_coupling("sd").make(all.sources);
  ASSERT_EQ(coupling->held_out_rows(), samples);
  const Pairs held_out = coupling->held_out({2, 9});
  const auto independent = find_coupling("independent").make(all.sources)->held_out({2, 9});
  EXPECT_TRUE(held_out.image.equal(independent.image));
  EXPECT_TRUE(held_out.noise.equal(independent.noise));
}

TEST(SeedsCoupling, ATableOfAnotherDataSetIsRefused) {
  const SeededImages all;
  all.write("0123");
  expect_error([&] { find_coupling("sd").make(all.sources); }, {"0123", all.dataset(), "anew"});
}

}  // namespace
}  // namespace couplet::testing
