// Tables of mapped noise, of a table whose gap to N(0, I) is known, on any number of ranks.
#include "stages/couple/gaussianisation.h"

#include "method/data/dataset.h"
#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/config/options.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"
#include "stages/gaussianiser.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "stages/noise_classifier.h"
#include "stages/prepare.h"
#include "stages/trained/models.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/pipeline/ranks.h"
#include "tests/stages/couple/grey_source.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

constexpr std::int64_t train_images = 8000, test_images = 3000, row_values = 16;

/// Noise of g ~ N(0, I) [n, 16] and labels.
using Warp = std::function<at::Tensor(const at::Tensor& g, const at::Tensor& label)>;

at::Tensor class_means() {
  return at::linspace(-0.5, 0.6, 2 * row_values, at::kDouble).view({2, row_values});
}
at::Tensor class_deviations() {
  return at::linspace(1.3, 0.8, 2 * row_values, at::kDouble).view({2, row_values});
}
at::Tensor of_classes(const at::Tensor& g, const at::Tensor& label) {
  return g * class_deviations().index_select(0, label) + class_means().index_select(0, label);
}

/// A run whose table nf is there.
class GaussianisationTest : public ::testing::Test {
protected:
  GaussianisationTest() : run_(ranks().broadcast_text(folder_.path().string(), 0)) {
    offer_members();
    config_ = resolve_config("", {{"student.compare", "calm flowed", ""},
                                  {"student.calm.coupling", "nf", ""},
                                  {"student.calm.gaussianise", "affine rotations", ""},
                                  {"student.flowed.coupling", "nf", ""},
                                  {"student.flowed.gaussianise", "flow", ""},
                                  {"couple.noise-type", "float32", ""},
                                  {"couple.slice-rows", "96", ""},
                                  {"evaluate.noise-classifier", "true", ""},
                                  {"noise-classifier.channels", "4", ""},
                                  {"noise-classifier.images", "19200", ""},
                                  {"noise-classifier.batch", "192", ""},
                                  {"noise-classifier.learning-rate", "0.1", ""},
                                  {"noise-classifier.final-learning-rate", "0.1", ""},
                                  {"noise-classifier.ema", "0.5", ""},
                                  {"noise-classifier.validate-every", "10", ""},
                                  {"gaussianiser.patch", "2", ""},
                                  {"gaussianiser.channels", "32", ""},
                                  {"gaussianiser.head-size", "16", ""},
                                  {"gaussianiser.layers", "1", ""},
                                  {"gaussianiser.images", "57600", ""},
                                  {"gaussianiser.batch", "192", ""},
                                  {"gaussianiser.learning-rate", "3e-3", ""},
                                  {"gaussianiser.warmup", "20", ""},
                                  {"gaussianiser.ema", "0.98", ""},
                                  {"gaussianiser.validate-every", "100", ""}});
    graph_ = stage_graph(config_, {});
    publish_dataset(grey_source(train_images, test_images, {.size = 4, .classes = 2}), config_.prepare, run_, ranks());
    ranks().barrier();
  }
  ~GaussianisationTest() override { ranks().barrier(); }

  void publish_base(const Warp& warp) {
    if (ranks().is_root())
      for (const std::string split : {"train", "test"}) publish_base(split, warp);
    ranks().barrier();
  }

  void run_stage(const std::string& name, const std::function<void(StageContext&)>& stage) {
    StageContext context{find_node(graph_, name), graph_, config_, run_, ranks(), c10::kCPU};
    stage(context);
    ranks().barrier();
  }

  /// Made by a communicator, with all that it needs.
  void make(const std::string& table, Communicator& communicator = ranks()) {
    const StageNode& node = find_node(graph_, "coupling/" + table);
    StageContext context{node, graph_, config_, run_, communicator, c10::kCPU};
    make_sharded_table(context, gaussianisation);
    communicator.barrier();
  }

  RowTable open(const std::string& table, const std::string& split) {
    return RowTable(run_.table(table, split), coupling_format);
  }
  at::Tensor column(const std::string& table, const std::string& split, const std::string& name) {
    const RowTable rows = open(table, split);
    return read_rows(rows, name, 0, rows.rows());
  }

  /// That the held-out rows have gained `expected` nats over N(f; 0, I) by the columns `nll`, and by the manifest what
  /// these are more than dividing by σ_f gains.
  void expect_closed(const std::string& table, const std::string& base, double expected) {
    const nlohmann::json summary = open(table, "test").summary();
    const double nats = summary.at("nats_closed").get<double>();
    const double error = summary.at("nats_closed_standard_error").get<double>();
    const double sigma = open(base, "train").summary().at("sigma_f").get<double>();
    const at::Tensor squares = column(base, "test", "noise").to(at::kDouble).flatten(1).square().sum(1);
    const at::Tensor divided = 0.5 * squares * (1 - 1 / (sigma * sigma)) - row_values * std::log(sigma);
    EXPECT_NEAR(nats, expected - divided.mean().item<double>(), 3 * error) << table;
    EXPECT_GT(std::abs(divided.mean().item<double>()), 3 * error) << "dividing by σ_f gains nothing to speak of";
    const at::Tensor columns =
        column(base, "test", "nll").to(at::kDouble) - column(table, "test", "nll").to(at::kDouble);
    const at::Tensor gained = columns * row_values - divided;
    EXPECT_NEAR(gained.mean().item<double>(), nats, 1e-3) << table;
    EXPECT_NEAR(gained.std().item<double>() / std::sqrt(static_cast<double>(test_images)), error, 1e-4);
  }

  Folder folder_;
  RunDirectory run_;
  Config config_;
  StageGraph graph_;

private:
  void publish_base(const std::string& split, const Warp& warp) {
    const std::int64_t rows = split == "train" ? train_images : test_images;
    const ShardPlan plan{rows, 3000};
    std::vector<float> normal(static_cast<std::size_t>(rows * row_values));
    fill_normal(normal, 1, Purpose::evaluation_noise, split == "train" ? 0 : 1);
    const at::Tensor g = at::from_blob(normal.data(), {rows, row_values}, at::kFloat).to(at::kDouble);
    const at::Tensor label = at::arange(rows, at::kLong) % 2;
    const at::Tensor noise = warp(g, label).reshape({rows, 1, 4, 4}).to(at::kFloat).contiguous();
    const std::vector<at::Tensor> values{noise,
                                         at::zeros({rows, 1, 4, 4}, at::kByte),
                                         label.to(at::kInt),
                                         at::arange(rows, at::kLong),
                                         at::zeros({rows}, at::kByte),
                                         at::zeros({rows}, at::kInt),
                                         at::arange(rows, at::kFloat).remainder(7),
                                         at::full({rows}, -1, at::kFloat)};
    const auto directory = run_.table("nf", split);
    fs::create_directories(directory);
    const nlohmann::json provenance{{"kind", "nf"}, {"split", split}, {"flips", false}, {"replicates", 1}};
    for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
      const std::int64_t first = plan.first_row(shard), count = plan.rows_of(shard);
      RowShardWriter writer(directory / shard_name(shard, plan.shards()),
                            {coupling_format, newest_shard_version, first, count, 100, provenance},
                            coupling_columns({1, 4, 2, {}, pixel_codec()}, ElementType::float32));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const at::Tensor own = values[i].narrow(0, first, count).contiguous();
        writer.write(i, 0, bytes_of(own));
      }
      writer.finish({{"nonfinite_rows", 0}});
    }
    publish_manifest(directory, plan, coupling_format,
                     {{"sigma_f", noise.square().mean().sqrt().item<double>()}, {"nonfinite_rows", 0}});
  }
};

TEST_F(GaussianisationTest, AffineClosesTheGapOfClassesAndLeavesNothingToRotations) {
  publish_base(of_classes);
  make("nf-affine");
  make("nf-affine-rotations");
  const at::Tensor variance = class_deviations().square();
  const double gap = (0.5 * (class_means().square() + variance - 1 - variance.log())).sum(1).mean().item<double>();
  expect_closed("nf-affine", "nf", gap);
  EXPECT_NEAR(open("nf-affine-rotations", "test").summary().at("nats_closed").get<double>(), 0, 0.02);
  for (const std::string split : {"train", "test"}) {
    for (const char* name : {"image", "label", "sample", "flip", "replicate"})
      EXPECT_TRUE(column("nf-affine", split, name).equal(column("nf", split, name))) << name;
    EXPECT_THROW(column("nf-affine", split, "round_trip"), Error);
    const nlohmann::json provenance = open("nf-affine", split).provenance();
    EXPECT_EQ(provenance.at("kind"), "gaussianised");
    EXPECT_EQ(provenance.at("base_table"), open("nf", split).content_hash());
    EXPECT_FALSE(provenance.contains("teacher")) << "the teacher makes no image of mapped noise";
  }
}

TEST_F(GaussianisationTest, TablesAreTheSameOnAnyRanksAndWhereTheyGoOn) {
  publish_base([](const at::Tensor& g, const at::Tensor& label) {
    return 0.8 * (1.15 * of_classes(g, label).asinh() + 0.3).sinh();
  });
  for (const std::string name : {"nf-affine", "nf-affine-rotations"}) {
    make(name);
    const std::string train = open(name, "train").content_hash(), test = open(name, "test").content_hash();
    // Half of the shards and the map are lost, and one process alone goes on.
    ranks().barrier();
    if (ranks().is_root()) {
      fs::remove(run_.table(name, "train") / "manifest.json");
      fs::remove(run_.table(name, "train") / shard_name(1, 3));
      fs::remove(run_.stage("coupling/" + name) / "map.safetensors");
      const auto alone = make_single_communicator();
      make(name, *alone);
      EXPECT_EQ(open(name, "train").content_hash(), train) << name;
      EXPECT_EQ(open(name, "test").content_hash(), test) << name;
    }
    ranks().barrier();
  }
}

TEST_F(GaussianisationTest, AFlowClosesTheGapOfValuesThatLeanOnOthers) {
  publish_base([](const at::Tensor& g, const at::Tensor& label) {
    const at::Tensor z = g.clone().view({-1, 4, 4});
    z.narrow(2, 2, 2).add_(0.9 * z.narrow(2, 0, 2));
    return z.view({-1, row_values}) + 0.4 * (2 * label - 1).unsqueeze(1);
  });
  run_stage("gaussianiser/nf", gaussianiser);
  make("nf-flow");
  expect_closed("nf-flow", "nf", 0.5 * (8 * 0.81 + row_values * 0.16));
}

TEST_F(GaussianisationTest, RowsThatAreNotFiniteAreRefused) {
  publish_base(of_classes);
  if (ranks().is_root()) {
    const RowTable rows = open("nf", "train");
    nlohmann::json summary = rows.summary();
    summary["nonfinite_rows"] = 3;
    publish_manifest(run_.table("nf", "train"), rows.plan(), coupling_format, summary);
  }
  ranks().barrier();
  for (const auto& work : std::vector<std::function<void()>>{[&] { make("nf-affine"); },
                                                             [&] { run_stage("gaussianiser/nf", gaussianiser); }}) {
    try {
      work();
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("3 of its rows are not finite"), std::string::npos) << error.what();
    }
    ranks().barrier();
  }
  EXPECT_FALSE(fs::exists(run_.stage("gaussianiser/nf") / "metrics.jsonl"));
}

TEST_F(GaussianisationTest, AClassifierIsChosenByTrainingRowsAlone) {
  publish_base(of_classes);
  if (ranks().is_root()) fs::remove_all(run_.table("nf", "test"));
  ranks().barrier();
  // At this learning rate the last weights are hardly the best.
  run_stage("noise-classifier/nf", noise_classifier);
  if (!ranks().is_root()) return;
  const fs::path directory = run_.stage("noise-classifier/nf");
  double lowest = 1e9;
  std::int64_t best = 0, last = 0;
  std::ifstream lines(directory / "metrics.jsonl");
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text);
    last = line.at("step").get<std::int64_t>() + 1;
    if (!line.contains("test_loss") || line["test_loss"].get<double>() >= lowest) continue;
    lowest = line["test_loss"].get<double>();
    best = last;
  }
  EXPECT_LT(best, last);
  EXPECT_LT(lowest, std::log(2.0));
  const std::vector<double> rates = config_.noise_classifier.training.ema;
  EXPECT_EQ(
      tensors_hash(read_tensors(run_.noise_classifier("nf"))),
      tensors_hash(read_tensors(weights_file(directory / "checkpoints" / checkpoint_name(best), rates, rates[0]))));
}

}  // namespace
}  // namespace couplet::testing
