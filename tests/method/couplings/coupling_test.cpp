// The couplings of the registry: what they draw, on small tables, against values worked out here.
#include "method/couplings/coupling.h"

#include "method/couplings/table_pairs.h"
#include "method/tables/dataset_rows.h"
#include "method/tables/seeds_table.h"
#include "pipeline/loader/row_order.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/random.h"
#include "tests/method/couplings/written_table.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <utility>

namespace couplet::testing {
namespace {

constexpr std::int64_t samples = 53, held_out_samples = 17, channels = 2, size = 4;
constexpr std::int64_t data_block = 10, table_block = 16, window = 2;
constexpr double sigma_f = 2.5;

/// A data set, and the table of its rows: mirrored images behind each, two draws of each.
struct Tables {
  Folder folder;
  CouplingRows numbering{samples, true, 2};
  at::Tensor images = at::randint(256, {samples, channels, size, size}, at::kByte);
  at::Tensor labels = at::arange(samples, at::kInt).remainder(7);
  at::Tensor noise = at::randn({numbering.rows(), channels, size, size}).to(at::kHalf);
  at::Tensor held_out_images = at::randint(256, {held_out_samples, channels, size, size}, at::kByte);
  at::Tensor held_out_noise = at::randn({held_out_samples, channels, size, size}).to(at::kHalf);
  CouplingSources sources;

  Tables() {
    const std::vector<Column> all = coupling_columns({channels, size, 7, {}}, ElementType::float16);
    const std::vector<Column> image_columns{all[1], all[2]}, table_columns{all[0], all[1], all[2]};
    const at::Tensor held_out_labels = at::arange(held_out_samples, at::kInt).remainder(7);
    const nlohmann::json no_provenance = nlohmann::json::object(), teacher{{"teacher", "abc"}};
    sources = {.train_images = folder / "images",
               .test_images = folder / "held-out",
               .train_table = folder / "table",
               .test_table = folder / "held-out-table",
               .reads = {},
               .pairing = {.replicates = 2, .loom = {}},
               .block_rows = table_block,
               .window_blocks = window,
               .seed = 11,
               .held_out_seed = 3,
               .codec = pixel_codec()};
    write_table(sources.train_images, "couplet-dataset", image_columns, {images, labels}, data_block, no_provenance,
                {});
    write_table(sources.test_images, "couplet-dataset", image_columns, {held_out_images, held_out_labels}, data_block,
                no_provenance, no_provenance);
    write_table(sources.train_table, coupling_format, table_columns, {noise, table_images(), table_labels()},
                table_block, teacher, {{"sigma_f", sigma_f}});
    write_table(sources.test_table, coupling_format, table_columns, {held_out_noise, held_out_images, held_out_labels},
                table_block, teacher, {{"sigma_f", 9}});
  }

  /// Rows 4s and 4s + 1 are sample s, the two behind it its mirror image.
  at::Tensor table_images() const {
    const at::Tensor mirrored = images.flip({3});
    return at::stack({images, images, mirrored, mirrored}, 1).flatten(0, 1);
  }
  at::Tensor table_labels() const { return labels.repeat_interleave(4); }
};

std::vector<std::int64_t> rows_at(const BatchRange& range) {
  return RowOrder(4 * samples, table_block, window, 11).at(range.first, range.rows);
}

/// Images as models see them.
at::Tensor seen(const at::Tensor& images) {
  return pixel_codec()->encode(images);
}

at::Tensor normal_noise(std::uint64_t seed, Purpose purpose, std::int64_t index) {
  at::Tensor noise = at::empty({channels, size, size});
  fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, seed, purpose,
              static_cast<std::uint64_t>(index));
  return noise;
}

// Batches of several sizes, across windows and epochs.
const std::vector<BatchRange> ranges{{0, 0, 12}, {1, 12, 12}, {5, 60, 30}, {20, 4 * samples - 5, 40}, {3, 7, 1}};

TEST(Coupling, DatasetRowsAreTheTablesToTheByte) {
  const Tables tables;
  const RowTable images(tables.sources.train_images, "couplet-dataset"),
      table(tables.sources.train_table, coupling_format);
  const DatasetRows rows(images, tables.numbering, table_block);
  EXPECT_EQ(rows.rows(), table.rows());
  EXPECT_EQ(rows.block_rows(), table.block_rows());
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 4 * samples}, {5, 1}, {38, 90}, {3, 0}}) {
    at::Tensor image = at::zeros({count, channels, size, size}, at::kByte), label = at::zeros({count}, at::kInt);
    const auto bytes = [](at::Tensor& tensor) {
      return std::span<std::byte>(static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes());
    };
    rows.read(rows.column("image"), first, count, bytes(image));
    rows.read(rows.column("label"), first, count, bytes(label));
    EXPECT_TRUE(image.equal(tables.table_images().narrow(0, first, count))) << first;
    EXPECT_TRUE(label.equal(tables.table_labels().narrow(0, first, count))) << first;
  }
  expect_error([&] { rows.column("noise"); }, {"noise", "image, label", images.path().string()});
}

TEST(Coupling, DatasetRowsMirrorElementsOfAnySize) {
  const Folder folder;
  const std::vector<Column> columns{{"image", ElementType::float16, {1, 2, 3}, ""},
                                    {"label", ElementType::int32, {}, ""}};
  const at::Tensor images = at::randn({4, 1, 2, 3}).to(at::kHalf);
  write_table(folder / "images", "couplet-dataset", columns, {images, at::zeros({4}, at::kInt)}, 2,
              nlohmann::json::object(), nlohmann::json::object());
  const RowTable table(folder / "images", "couplet-dataset");
  const DatasetRows rows(table, {4, true, 1}, 4);
  at::Tensor read = at::zeros({8, 1, 2, 3}, at::kHalf);
  rows.read(0, 0, 8, {static_cast<std::byte*>(read.data_ptr()), read.nbytes()});
  EXPECT_TRUE(read.equal(at::stack({images, images.flip({3})}, 1).flatten(0, 1)));
}

TEST(Coupling, NfDrawsTheTablesPairs) {
  const Tables tables;
  const auto coupling = find_coupling("nf").make(tables.sources);
  for (const BatchRange& range : ranges) {
    const Pairs pairs = coupling->draw(range);
    const at::Tensor rows = at::tensor(rows_at(range), at::kLong);
    EXPECT_TRUE(pairs.image.equal(seen(tables.table_images().index_select(0, rows))));
    EXPECT_TRUE(pairs.noise.equal(tables.noise.index_select(0, rows).to(at::kFloat) / sigma_f));
    EXPECT_TRUE(pairs.label.equal(tables.table_labels().index_select(0, rows).to(at::kLong)));
  }
  EXPECT_EQ(coupling->held_out_rows(), held_out_samples);
  const Pairs held_out = coupling->held_out({2, 3, 11});
  const at::Tensor rows = at::tensor({2, 3, 11});
  EXPECT_TRUE(held_out.image.equal(seen(tables.held_out_images.index_select(0, rows))));
  EXPECT_TRUE(held_out.noise.equal(tables.held_out_noise.index_select(0, rows).to(at::kFloat) / sigma_f))
      << "by the training table's σ_f";
  EXPECT_EQ(coupling->provenance().at("teacher"), "abc");
  EXPECT_TRUE(coupling->state().empty());
}

// The teacher's noise is a function of the row's number, of which the held-out table counts its own.
TEST(Coupling, NfDrawsTheTeachersNoiseAgain) {
  const Tables tables;
  EXPECT_FALSE(find_coupling("nf").make(tables.sources)->draw(ranges[0]).noised.defined());
  for (const bool uniform : {false, true}) {
    CouplingSources sources = tables.sources;
    sources.teacher_noise = TeacherNoise{{.uniform = uniform, .standard_deviation = 0.3}, 21};
    const auto expect_noised = [&](const at::Tensor& noised, std::int64_t i, const at::Tensor& stored, Purpose purpose,
                                   std::int64_t row) {
      const at::Tensor grey = stored[row].to(at::kFloat);
      at::Tensor draw = normal_noise(21, purpose, row);
      if (uniform)
        fill_uniform({draw.data_ptr<float>(), static_cast<std::size_t>(draw.numel())}, 21, purpose,
                     static_cast<std::uint64_t>(row));
      const at::Tensor expected = uniform ? (grey + draw) / 128 - 1 : grey / 127.5 - 1 + 0.3 * draw;
      EXPECT_TRUE(noised[i].allclose(expected, 0, 1e-6)) << row << (uniform ? ", uniform" : "");
    };
    const auto coupling = find_coupling("nf").make(sources);
    for (const BatchRange& range : ranges) {
      const at::Tensor noised = coupling->draw(range).noised;
      const std::vector<std::int64_t> rows = rows_at(range);
      for (std::int64_t i = 0; i < range.rows; ++i)
        expect_noised(noised, i, tables.table_images(), Purpose::coupling_noise, rows[static_cast<std::size_t>(i)]);
    }
    const at::Tensor held_out = coupling->held_out({2, 3, 11}).noised;
    for (const auto& [i, row] : {std::pair<std::int64_t, std::int64_t>{0, 2}, {1, 3}, {2, 11}})
      expect_noised(held_out, i, tables.held_out_images, Purpose::validation_noise, row);
  }
}

// The images of a student of the table, row by row, without the table.
TEST(Coupling, IndependentDrawsTheSameImagesWithFreshNoise) {
  const Tables tables;
  CouplingSources sources = tables.sources;
  sources.train_table = sources.test_table = "";
  const auto coupling = find_coupling("independent").make(sources), nf = find_coupling("nf").make(tables.sources);
  for (const BatchRange& range : ranges) {
    const Pairs pairs = coupling->draw(range), others = nf->draw(range);
    EXPECT_TRUE(pairs.image.equal(others.image)) << range.first;
    EXPECT_TRUE(pairs.label.equal(others.label)) << range.first;
    for (std::int64_t i = 0; i < range.rows; ++i)
      EXPECT_TRUE(pairs.noise[i].equal(normal_noise(11, Purpose::student_noise, range.first + i)));
  }
  EXPECT_EQ(coupling->held_out_rows(), held_out_samples);
  const std::vector<std::int64_t> numbers{2, 3, 11};
  const Pairs held_out = coupling->held_out(numbers), others = nf->held_out(numbers);
  EXPECT_TRUE(held_out.image.equal(others.image));
  EXPECT_TRUE(held_out.label.equal(others.label));
  for (std::size_t i = 0; i < numbers.size(); ++i)
    EXPECT_TRUE(
        held_out.noise[static_cast<std::int64_t>(i)].equal(normal_noise(3, Purpose::validation_start, numbers[i])))
        << "a function of the run's seed and the row";
  EXPECT_TRUE(coupling->state().empty());
  EXPECT_NE(coupling->provenance(), nf->provenance());
}

// Tables that were imported, or made by a student, hold images as models see them.
TEST(Coupling, ImagesOfAFloatTypeAreNotEncoded) {
  Tables tables;
  const std::vector<Column> all = coupling_columns({channels, size, 7, {}}, ElementType::float16);
  for (const auto& [type, scalar] : {std::pair{ElementType::float16, at::kHalf}, {ElementType::float32, at::kFloat}}) {
    std::vector<Column> columns{all[0], all[1], all[2]};
    columns[1].type = type;
    const std::string name(element_name(type));
    const at::Tensor images = at::randn({tables.numbering.rows(), channels, size, size}).to(scalar);
    tables.sources.train_table = tables.sources.test_table = tables.folder / ("seen-" + name);
    write_table(tables.sources.train_table, coupling_format, columns, {tables.noise, images, tables.table_labels()},
                table_block, nlohmann::json::object(), {{"sigma_f", sigma_f}});
    const auto coupling = find_coupling("nf").make(tables.sources);
    const Pairs pairs = coupling->draw(ranges[2]);
    const at::Tensor rows = at::tensor(rows_at(ranges[2]), at::kLong);
    EXPECT_TRUE(pairs.image.equal(images.index_select(0, rows).to(at::kFloat))) << name;
    EXPECT_TRUE(coupling->held_out({1, 5}).image.equal(images.index_select(0, at::tensor({1, 5})).to(at::kFloat)));
    EXPECT_TRUE(sample_table_pairs(tables.sources.train_table, RowTable(tables.sources.train_images, ""))
                    .image.equal(images.to(at::kFloat)))
        << "judged as they are";
    const at::Tensor pixels =
        image_pixels(at::tensor({-2.0f, -1.0f, 0.0f, 1.0f}).view({1, 1, 2, 2}).to(scalar), *pixel_codec());
    EXPECT_TRUE(pixels.flatten().equal(at::tensor({0, 0, 128, 255}, at::kByte))) << pixels;
  }
}

TEST(Coupling, NumbersRowsAsTheTableWouldBe) {
  const Tables tables;
  CouplingSources sources = tables.sources;
  sources.pairing.flips = false;
  sources.pairing.replicates = 1;
  const auto coupling = find_coupling("independent").make(sources);
  const Pairs epoch = coupling->draw({0, 0, samples});
  const std::vector<std::int64_t> rows = RowOrder(samples, table_block, window, 11).at(0, samples);
  EXPECT_TRUE(epoch.image.equal(seen(tables.images.index_select(0, at::tensor(rows, at::kLong)))));
}

TEST(TablePairs, AreTheRowsOfATableOfNoise) {
  const Tables tables;
  const Pairs pairs = sample_table_pairs(tables.sources.train_table, RowTable(tables.sources.train_images, ""));
  EXPECT_TRUE(pairs.image.equal(seen(tables.table_images())));
  EXPECT_TRUE(pairs.noise.equal(tables.noise.to(at::kFloat) / sigma_f));
  EXPECT_TRUE(pairs.label.equal(tables.table_labels().to(at::kLong)));
}

TEST(TablePairs, AreMadeOfSeedsAndTheDataSet) {
  const Tables tables;
  // Image 3 twice, mirrored once more; image 7 not at all; the last image.
  const std::vector<std::int64_t> ids{900, 2, 31, 4, 77};
  const at::Tensor sample = at::tensor({3, 3, 3, 8, 52}, at::kLong), flip = at::tensor({0, 0, 1, 1, 0}, at::kByte);
  const fs::path path = tables.folder / "seeds";
  write_table(path, seeds_format, seeds_columns(),
              {at::tensor(ids), tables.labels.index_select(0, sample), sample, flip}, 8,
              {{"dataset", "abc"}, {"seed", 21}, {"kind", "sd"}}, nlohmann::json::object());
  const RowTable images(tables.sources.train_images, "");
  const Pairs pairs = sample_table_pairs(path, images);
  EXPECT_TRUE(pairs.label.equal(tables.labels.index_select(0, sample).to(at::kLong)));
  for (std::int64_t row = 0; row < 5; ++row) {
    const at::Tensor image = tables.images[sample[row].item<std::int64_t>()];
    EXPECT_TRUE(pairs.image[row].equal(seen(row == 2 || row == 3 ? image.flip({2}) : image))) << row;
    EXPECT_TRUE(pairs.noise[row].equal(normal_noise(21, Purpose::table_noise, ids[static_cast<std::size_t>(row)])));
  }
  expect_error([&] { sample_table_pairs(tables.sources.train_images, images); }, {"couplet-dataset", "couplet-seeds"});
}

TEST(Coupling, TheRegistrySaysWhatEachReads) {
  EXPECT_EQ(find_coupling("nf").table, "nf");
  EXPECT_TRUE(find_coupling("nf").has_table_of_teacher());
  EXPECT_FALSE(find_coupling("independent").has_table());
  EXPECT_FALSE(find_coupling("independent").has_table_of_teacher());
  for (const CouplingKind& kind : coupling_kinds()) EXPECT_FALSE(kind.help.empty()) << kind.name;
  expect_error([] { find_coupling("independant"); }, {"'independant'", "'independent'", "nf"});
}

}  // namespace
}  // namespace couplet::testing
