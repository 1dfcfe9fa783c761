// The coupling low-resolution and what samples of super-resolution start from, on any number of ranks.
#include "method/couplings/coupling.h"
#include "method/data/noise.h"
#include "method/sampling/initial_noise.h"
#include "method/tables/coupling_table.h"
#include "storage/error.h"
#include "tests/method/couplings/written_table.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

constexpr std::int64_t samples = 40, held_out_samples = 9, channels = 2, size = 4, classes = 3;
constexpr std::int64_t data_block = 8, batch = 12;
constexpr double noise = 0.3;

/// A data set in a directory of all ranks, whose students are given its low resolution, or none.
struct DataSet {
  SharedDirectory folder;
  CouplingSources sources;

  explicit DataSet(bool is_given = true) {
    sources = {.train_images = folder / "train",
               .test_images = folder / "test",
               .train_table = {},
               .test_table = {},
               .reads = {},
               .pairing = {.batch = batch, .source_noise = noise, .loom = {}},
               .block_rows = 16,
               .window_blocks = 2,
               .seed = 11,
               .held_out_seed = 3,
               .codec = pixel_codec(),
               .communicator = &ranks()};
    if (ranks().is_root()) {
      write(sources.train_images, samples, is_given);
      write(sources.test_images, held_out_samples, is_given);
    }
    ranks().barrier();
  }

  DatasetShape shape() const { return dataset_shape(RowTable(sources.train_images, dataset_format)); }
  std::unique_ptr<Coupling> coupling() const { return find_coupling("low-resolution").make(sources); }

private:
  static void write(const std::filesystem::path& directory, std::int64_t rows, bool is_given) {
    const std::vector<Column> all = coupling_columns({channels, size, classes, {}}, ElementType::float32);
    const at::Tensor images = at::randint(256, {rows, channels, size, size}, at::kByte);
    nlohmann::json provenance = nlohmann::json::object();
    if (is_given) provenance["low_resolution"] = {{"factor", 2}, {"degradation", "area"}};
    write_table(directory, dataset_format, {all[1], all[2]}, {images, at::arange(rows, at::kInt).remainder(classes)},
                data_block, provenance, {{"class_counts", std::vector<std::int64_t>(classes, rows / classes)}});
  }
};

TEST(LowResolutionCoupling, NoiseIsTheImagesOwnLowResolutionWithFreshNoiseOnIt) {
  const DataSet data;
  const std::int64_t rows = batch / ranks().size(), first = 2 * batch + ranks().rank() * rows;
  const BatchRange own{2, first, rows, batch};
  const Pairs pairs = data.coupling()->draw(own);
  const Pairs same = find_coupling("independent").make(data.sources)->draw(own);
  EXPECT_TRUE(pairs.image.equal(same.image));
  EXPECT_TRUE(pairs.label.equal(same.label));
  const Condition condition = data.shape().condition(pairs.image, pairs.label);
  EXPECT_TRUE(at::allclose(pairs.noise, condition.image + noise * same.noise, 0, 1e-6));
  // The same rows on one rank: the condition goes with its row.
  const Pairs whole = data.coupling()->draw({2, 2 * batch, batch, batch});
  EXPECT_TRUE(whole.noise.narrow(0, first - 2 * batch, rows).equal(pairs.noise));
  EXPECT_TRUE(
      data.shape().condition(whole.image, whole.label).image.narrow(0, first - 2 * batch, rows).equal(condition.image));
}

TEST(LowResolutionCoupling, HasTheMarginalsOfItsSource) {
  const DataSet data;
  const auto coupling = data.coupling();
  std::vector<at::Tensor> rest;
  for (std::int64_t step = 0; step < 60; ++step) {
    const Pairs pairs = coupling->draw({step, step * batch, batch, batch});
    rest.push_back((pairs.noise - data.shape().condition(pairs.image, pairs.label).image) / noise);
  }
  const at::Tensor z = at::cat(rest).flatten().to(at::kDouble);
  const double n = static_cast<double>(z.size(0));
  EXPECT_NEAR(z.mean().item<double>(), 0, 4 / std::sqrt(n));
  EXPECT_NEAR(z.square().mean().item<double>(), 1, 4 * std::sqrt(2 / n));
}

TEST(LowResolutionCoupling, SamplingStartsWhereHeldOutPairsDo) {
  const DataSet data;
  const CouplingKind& kind = find_coupling("low-resolution");
  const std::vector<std::int64_t> rows{0, 3, 8};
  const Pairs held_out = data.coupling()->held_out(rows),
              fresh = find_coupling("independent").make(data.sources)->held_out(rows);
  const Condition condition = data.shape().condition(held_out.image, held_out.label);
  EXPECT_TRUE(kind.source(fresh.noise, condition, noise).equal(held_out.noise));
  EXPECT_THROW(kind.source(fresh.noise, {held_out.label, {}}, noise), Error);
}

TEST(StudentNoise, HasTheConditionsOfHeldOutImagesOneASample) {
  const DataSet data;
  const RowTable held_out(data.sources.test_images, dataset_format);
  const InitialNoise made = student_noise(data.shape(), held_out, 5, 6, 5);  // 6, 7, 8 and, beyond the end, 8, 8
  const Pairs truth = data.coupling()->held_out({6, 7, 8, 8, 8});
  EXPECT_TRUE(made.z.equal(fresh_noise(data.shape(), 5, 6, 5).z));
  EXPECT_TRUE(made.condition.labels.equal(truth.label));
  EXPECT_TRUE(made.condition.image.equal(data.shape().condition(truth.image, truth.label).image));
}

TEST(StudentNoise, IsFreshNoiseWhereNoLowResolutionIsGiven) {
  const DataSet data(false);
  const RowTable held_out(data.sources.test_images, dataset_format);
  const InitialNoise made = student_noise(data.shape(), held_out, 5, 6, 5), fresh = fresh_noise(data.shape(), 5, 6, 5);
  EXPECT_TRUE(made.z.equal(fresh.z));
  EXPECT_TRUE(made.condition.labels.equal(fresh.condition.labels));
  EXPECT_FALSE(made.condition.image.defined());
}

TEST(LowResolutionCoupling, RefusesImagesOfWhichNoneIsGiven) {
  const DataSet data(false);
  try {
    data.coupling();
    FAIL() << "a coupling without a source was made";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("prepare.condition = none"), std::string::npos) << error.what();
  }
  const DataSet given;
  const CouplingKind& reflow = find_coupling("reflow");
  EXPECT_THROW(reflow.check(given.sources.pairing, given.shape(), samples), Error);
  EXPECT_NO_THROW(reflow.check(data.sources.pairing, data.shape(), samples));
}

}  // namespace
}  // namespace couplet::testing
