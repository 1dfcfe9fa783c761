// The table sd of a small data set: what is in it, on one rank and on several, stopped and gone on with.
#include "stages/couple/semidiscrete_table.h"

#include "method/data/dataset.h"
#include "method/tables/dataset_rows.h"
#include "method/tables/seeds_table.h"
#include "pipeline/config/options.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/interruption.h"
#include "storage/files/hash.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <csignal>
#include <functional>
#include <map>

namespace couplet {
namespace {

constexpr std::int64_t images = 150, image_values = 2 * 4 * 4;

Config small_config() {
  Config config = default_config();
  config.couple.flips = true;
  config.couple.shard_rows = 512;
  config.couple.block_rows = 64;
  config.couple.sd_batch = 128;
  config.couple.sd_steps = 60;
  config.couple.sd_target = 0.01;  // not to be met
  config.couple.sd_check_every = 25;
  config.couple.sd_draws = 5;
  config.pipeline.checkpoint_every = 20;
  return config;
}

/// Stripes of three classes.
at::Tensor image_of(std::int64_t i) {
  const at::Tensor places = at::arange(image_values).view({2, 4, 4});
  return ((places * (i % 7 + 1) + i * 13) % 251).to(at::kByte);
}

class SemidiscreteTable : public ::testing::Test {
protected:
  SemidiscreteTable() : root_(directory_ / "run"), run_(root_) {
    if (ranks().is_root()) write_dataset();
    ranks().barrier();
  }

  void write_dataset() const {
    std::filesystem::create_directories(run_.train_images());
    std::vector<at::Tensor> all;
    for (std::int64_t i = 0; i < images; ++i) all.push_back(image_of(i));
    const at::Tensor pixels = at::stack(all), labels = at::arange(images, at::kInt).remainder(3);
    const std::vector<Column> columns{{"image", ElementType::uint8, {2, 4, 4}, ""},
                                      {"label", ElementType::int32, {}, ""}};
    const nlohmann::json provenance{{"classes", 3}, {"class_counts", {50, 50, 50}}};
    RowShardWriter writer(run_.train_images() / shard_name(0, 1),
                          {dataset_format, newest_shard_version, 0, images, 50, provenance}, columns);
    writer.write(0, 0, {static_cast<const std::byte*>(pixels.const_data_ptr()), pixels.nbytes()});
    writer.write(1, 0, {static_cast<const std::byte*>(labels.const_data_ptr()), labels.nbytes()});
    writer.finish({{"class_counts", {50, 50, 50}}});
    publish_manifest(run_.train_images(), {images, images}, dataset_format, {{"class_counts", {50, 50, 50}}});
  }

  /// Makes the table "sd" of this configuration below a folder of that name, with these ranks.
  RunDirectory make(const std::string& name, const Config& config, Communicator& communicator) {
    const RunDirectory run(directory_ / name);
    if (communicator.is_root() && !std::filesystem::exists(run.root() / "prepare"))
      std::filesystem::create_symlink(root_ / "prepare", run.root() / "prepare");
    communicator.barrier();
    StageNode node{.name = "coupling/sd", .kind = "couple", .table = "sd", .fingerprint = "f"};
    const StageGraph graph{node};
    StageContext context{node, graph, config, run, communicator, test_device()};
    make_semidiscrete_table(context);
    communicator.barrier();
    return run;
  }
  RunDirectory make(const std::string& name, const Config& config) { return make(name, config, ranks()); }

  /// Noises of the table, in the order of its rows.
  static at::Tensor noise_of(const RowTable& table) {
    const at::Tensor ids = read_rows(table, "noise_id", 0, table.rows());
    const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
    return noise_of_ids({2, 4, 4}, 0, {id, id + table.rows()}).flatten(1);
  }
  /// All images as models see them, each before its mirror image.
  at::Tensor atoms() const {
    std::vector<at::Tensor> all;
    for (std::int64_t i = 0; i < images; ++i)
      for (const at::Tensor& image : {image_of(i), image_of(i).flip({2})})
        all.push_back(pixel_codec()->encode(image).flatten());
    return at::stack(all);
  }
  /// The row of `atoms` that each row of the table is.
  static at::Tensor chosen(const RowTable& table) {
    return 2 * read_rows(table, "sample", 0, table.rows()) + read_rows(table, "flip", 0, table.rows()).to(at::kLong);
  }

  SharedDirectory directory_;
  std::filesystem::path root_;
  RunDirectory run_;
};

TEST_F(SemidiscreteTable, EveryNoiseStandsOnceBesideItsImage) {
  const RunDirectory run = make("all", small_config());
  const RowTable table(run.table("sd", "train"), seeds_format);
  ASSERT_EQ(table.rows(), 5 * 2 * images);
  EXPECT_EQ(table.plan().shards(), 3);
  const at::Tensor ids = read_rows(table, "noise_id", 0, table.rows());
  EXPECT_TRUE(std::get<0>(ids.sort()).equal(at::arange(table.rows())));
  EXPECT_TRUE(read_rows(table, "label", 0, table.rows())
                  .to(at::kLong)
                  .equal(read_rows(table, "sample", 0, table.rows()).remainder(3)));
  EXPECT_EQ(table.provenance().at("kind"), "sd");
  EXPECT_EQ(table.provenance().at("dataset"), RowTable(run.train_images(), dataset_format).content_hash());
  EXPECT_EQ(table.summary().at("steps"), 60);
  EXPECT_GT(table.summary().at("chi2_standard_error").get<double>(), 0);
  EXPECT_GT(table.summary().at("seconds").get<double>(), 0);

  // The choice, made again from the checkpoint's potentials.
  const NamedTensors state =
      read_tensors(run.stage("coupling/sd") / "checkpoints" / "step-00000060" / "potentials.safetensors");
  const at::Tensor x = atoms(), z = noise_of(table);
  const at::Tensor scores = z.mm((x - x.mean(0)).t()).to(at::kDouble) + state.at("average");
  const at::Tensor score = scores.gather(1, chosen(table).unsqueeze(1)).squeeze(1);
  EXPECT_LT((std::get<0>(scores.max(1)) - score).max().item<double>(), 1e-3);
  // Nearer than chance.
  const auto cost = [&](const at::Tensor& atom) {
    return (z - x.index_select(0, atom)).square().sum(1).mean().item<double>();
  };
  EXPECT_LT(cost(chosen(table)), 0.85 * cost(chosen(table).flip(0)));
}

TEST_F(SemidiscreteTable, TheBytesAreThoseOfOneRankAndOneThread) {
  const RunDirectory many = make("many", small_config());
  if (ranks().is_root()) {
    at::set_num_threads(3);
    const auto alone = make_single_communicator();
    const RunDirectory one(many.root() / "one");
    std::filesystem::create_directories(one.root());
    std::filesystem::create_symlink(root_ / "prepare", one.root() / "prepare");
    const Config config = small_config();
    StageNode node{.name = "coupling/sd", .kind = "couple", .table = "sd", .fingerprint = "f"};
    const StageGraph graph{node};
    StageContext context{node, graph, config, one, *alone, test_device()};
    make_semidiscrete_table(context);
    at::set_num_threads(1);
    for (std::int64_t shard = 0; shard < 3; ++shard)
      EXPECT_EQ(hash_file(one.table("sd", "train") / shard_name(shard, 3)),
                hash_file(many.table("sd", "train") / shard_name(shard, 3)));
  }
  ranks().barrier();
}

TEST_F(SemidiscreteTable, ClassesHaveTheirOwnNoises) {
  Config config = small_config();
  config.couple.sd_within = "class";
  const RunDirectory run = make("within", config);
  const RowTable table(run.table("sd", "train"), seeds_format);
  const at::Tensor ids = read_rows(table, "noise_id", 0, table.rows());
  const at::Tensor labels = read_rows(table, "label", 0, table.rows()).to(at::kLong);
  EXPECT_TRUE(labels.equal(ids.div(500, "floor"))) << "a hundred images a class, five noises each";
}

TEST_F(SemidiscreteTable, ChoosesAlongPrincipalAxes) {
  Config config = small_config();
  config.couple.sd_dims = 3;
  const RunDirectory run = make("axes", config);
  const RowTable table(run.table("sd", "train"), seeds_format);
  const double share = table.summary().at("axes_share").get<double>();
  const at::Tensor x = atoms() - atoms().mean(0);
  const at::Tensor values = at::linalg_eigvalsh(x.t().mm(x).to(at::kDouble));
  EXPECT_NEAR(share, (values.narrow(0, image_values - 3, 3).sum() / values.sum()).item<double>(), 1e-4);
}

TEST_F(SemidiscreteTable, StopsAtItsTarget) {
  Config config = small_config();
  config.couple.sd_target = 50;
  const RunDirectory run = make("target", config);
  EXPECT_EQ(RowTable(run.table("sd", "train"), seeds_format).summary().at("steps"), 0);
}

// The last: a process that was asked to stop stays so.
TEST_F(SemidiscreteTable, StoppedItGoesOnToTheSameBytes) {
  const RunDirectory whole = make("whole", small_config());
  Config config = small_config();
  // An earlier attempt that was killed after its checkpoint of step 40.
  make("broken", config);
  const auto stage = directory_ / "broken/coupling/sd";
  if (ranks().is_root()) {
    std::filesystem::remove_all(stage / "train");
    std::filesystem::remove_all(stage / "checkpoints/step-00000060");
  }
  ranks().barrier();
  const RunDirectory broken = make("broken", config);
  for (std::int64_t shard = 0; shard < 3; ++shard)
    EXPECT_EQ(hash_file(broken.table("sd", "train") / shard_name(shard, 3)),
              hash_file(whole.table("sd", "train") / shard_name(shard, 3)));
  EXPECT_EQ(RowTable(broken.table("sd", "train"), seeds_format).summary().at("chi2"),
            RowTable(whole.table("sd", "train"), seeds_format).summary().at("chi2"));

  watch_signals();
  if (ranks().rank() == ranks().size() - 1) {
    kill(getpid(), SIGUSR1);
    while (!stop_requested()) usleep(1000);
  }
  ranks().barrier();
  EXPECT_THROW(make("asked", config), Interrupted);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "asked/coupling/sd/checkpoints"));
}

}  // namespace
}  // namespace couplet
