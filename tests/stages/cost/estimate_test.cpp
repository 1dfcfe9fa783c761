#include "stages/cost/estimate_table.h"

#include "method/models/autoencoder.h"
#include "stages/cost/stage_load.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "storage/error.h"
#include "tests/method/data/idx_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>

// The cost of a run so small that its products can be counted by hand.

namespace couplet {
namespace {

// 4x4 images, patches of 2x2: 4 tokens of 4 values, 3 classes; of the teacher's tokens 3 enter the transformer.
// Teacher: 2 blocks of 3·4·8 in, 12·3·8² + 2·3²·8 in the layer, 3·8·8 out; two operations a multiply-add.
constexpr double teacher = 2 * 2 * (96 + 2304 + 144 + 192);
// Student: 4·4·8 in; time 256·8 + 8²; 12·4·8² + 2·4²·8 and 8·48 in the block; 8·16 and 4·8·4 out.
constexpr double student = 2 * (128 + 2048 + 64 + 3072 + 256 + 384 + 128 + 128);
// Classifier: 16 pixels, 9·1·2; 8·4 hidden; 4·3 out.
constexpr double classifier = 2 * (288 + 32 + 12);
// Weights and biases. Teacher, a block: 4·8 + 8; 4 places and 3 classes of 8; 12·8² + 13·8 in the layer; 8·8 + 8.
constexpr double teacher_parameters = 2 * (40 + 56 + 872 + 72);
constexpr double student_parameters = 40 + 2056 + 72 + 32 + (216 + 72 + 288 + 264 + 432) + 144 + 36;
constexpr double classifier_parameters = 20 + 36 + 15;

TrainingConfig training(std::int64_t images, std::int64_t batch, const std::string& precision) {
  TrainingConfig training;
  training.images = images;
  training.batch = batch;
  training.precision = precision;
  training.ema = {0.9};
  training.validate_every = 3;
  training.validate_rows = 10;
  return training;
}

Config small_config() {
  Config config;
  config.pipeline.keep_checkpoints = 2;
  config.features = {training(64, 16, "float32"), 2, 4};
  config.teacher.training = training(96, 16, "bfloat16");
  config.teacher.patch = 2;
  config.teacher.channels = 8;
  config.teacher.blocks = 2;
  config.teacher.layers = {1};
  config.teacher.head_size = 8;
  config.teacher.variant = "nvp";
  config.teacher.noise = "gaussian";
  config.teacher.noise_std = 0.1;
  config.teacher.preview = {4, 30};
  config.couple.flips = true;
  config.couple.replicates = 2;
  config.couple.noise_type = "float16";
  config.couple.precision = "float32";
  config.couple.round_trip = 0.25;
  config.student.training = training(160, 32, "float32");
  config.student.training.ema = {0.9, 0.99};
  config.compare = {"nf", "independent"};
  config.student.seeds = {0};
  config.student.field = "sit";
  config.student.path = "linear";
  config.student.objective = "velocity";
  config.student.time_law = "logit-normal";
  config.student.patch = 2;
  config.student.channels = 8;
  config.student.depth = 1;
  config.student.heads = 2;
  config.evaluate.samples = 50;
  config.evaluate.guidance = {1};
  config.evaluate.temperature = {1};
  config.evaluate.sampling_seeds = {0};
  config.evaluate.euler_nfe = {1, 4};
  config.evaluate.heun_nfe = {3};
  config.evaluate.grids = {"uniform", "squared"};
  config.evaluate.curvature_samples = 6;
  config.evaluate.curvature_steps = 5;
  config.evaluate.pairing_rows = 7;
  config.evaluate.pairing_nfe = 2;
  config.evaluate.precision = "float32";
  return config;
}

const DatasetSize small_dataset{100, 20, {1, 4, 3, {}}, 100};

Estimate estimate(const Config& config) {
  offer_members();
  return estimate_run(config, small_dataset, stage_graph(config, {}));
}

std::map<std::string, StageCost> by_stage(const Config& config) {
  std::map<std::string, StageCost> found;
  for (const auto& stage : estimate(config).stages) found[stage.stage] = stage;
  return found;
}

// Autoencoder of two levels, of 4 channels and 8: 9·1·4, 2·9·4² at 16 pixels; 9·4·8, 2·9·8², 9·8·2 at 4, and from the
// one latent channel 9·8, 2·9·8² there; 9·8·4, 2·9·4², 9·4 at 16.
constexpr double one_way = 16 * (36 + 288) + 4 * (288 + 1152 + 144), way_back = 4 * (72 + 1152) + 16 * (288 + 288 + 36);
constexpr double autoencoder_forward = 2 * (one_way + way_back);
// A kernel and a bias a convolution, two numbers a channel of a norm.
constexpr double autoencoder_parameters =
    (40 + 2 * (148 + 8) + 296 + 2 * (584 + 16) + 146 + 16) + (80 + 2 * (584 + 16) + 292 + 2 * (148 + 8) + 37 + 8);

// No graph has the stage yet: it is asked for by itself.
TEST(Estimate, OfTheAutoencoder) {
  Config config = small_config();
  config.autoencoder = {training(96, 16, "bfloat16"), 2, 4, 1, 1e-6};
  const StageGraph graph{{.name = "autoencoder", .kind = "autoencoder"}};
  const StageCost cost = autoencoder_cost(graph[0], {config, graph, small_dataset});
  EXPECT_EQ(cost.work, "6 steps of 16");
  EXPECT_EQ(cost.flops.bfloat16, autoencoder_forward * 3 * 96);
  // Validation after steps 3 and 6, and all 20 held-out images at the end.
  EXPECT_EQ(cost.flops.float32, autoencoder_forward * (2 * 2 * 10 + 20));
  EXPECT_EQ(cost.disk.weights, 4 * autoencoder_parameters * 2);
}

TEST(Estimate, OfTheNoiseClassifierAndWhatItChooses) {
  Config config = small_config();
  config.noise_classifier = {training(96, 16, "float32"), 2};
  auto plain = by_stage(config);
  config.evaluate.candidates = {1, 4};
  auto chosen = by_stage(config);
  // A convolution of 9·2·2 at 16 pixels, the linear map of 2·16, 2·16·64 hidden, 64 out; a row beside a fresh one.
  constexpr double classifies = 2 * (576 + 32 + 2048 + 64);
  EXPECT_EQ(chosen["noise-classifier/nf"].flops.float32, 2 * classifies * (3 * 96 + 2 * 2 * 10));
  EXPECT_EQ(chosen["noise-classifier/nf"].parameters, 38 + 33 + 33 * 64 + 65 + 3 * 2);
  const auto added = [&](const char* stage) { return chosen[stage].flops.all() - plain[stage].flops.all(); };
  EXPECT_EQ(added("evaluate/table-nf"), 2 * classifies * 20);
  // The five ways of sampling once more, each sample with four noises to choose from.
  EXPECT_EQ(added("evaluate/nf-0"), student * 50 * (1 + 4 + 3 + 4 + 3) + classifier * 50 * 5 + classifies * 50 * 5 * 4);
  EXPECT_EQ(added("evaluate/independent-0"), 0) << "it has no table";
}

TEST(Estimate, CountsTheProductsOfEveryStage) {
  auto stage = by_stage(small_config());
  EXPECT_EQ(stage.size(), 12);
  EXPECT_EQ(stage["prepare"].flops.all(), 0);
  EXPECT_EQ(stage["report"].flops.all(), 0);

  // 4 steps of 16, forward and backward; validation after steps 3 and 4; features of all 120 images.
  EXPECT_EQ(stage["features"].flops.float32, classifier * (3 * 64 + 2 * 2 * 10 + 120));
  EXPECT_EQ(stage["features"].work, "4 steps of 16");

  // 6 steps of 16 and one preview of 30 samples, each inverted (1) and denoised (2), in bfloat16; validation after
  // steps 3 and 6, all 20 test images at the end, and the preview's score in float32.
  EXPECT_EQ(stage["teacher"].flops.bfloat16, teacher * (3 * 96 + 30 * 3));
  EXPECT_EQ(stage["teacher"].flops.float32, teacher * (2 * 2 * 10 + 20) + classifier * 30);

  // 100 images twice (mirrored) with two draws each, and 20 held out; a quarter of them back.
  EXPECT_EQ(stage["coupling/nf"].work, "420 rows");
  EXPECT_EQ(stage["coupling/nf"].flops.float32, teacher * 420 * 1.25);

  // Of 400 and 20 rows of 16 values: covariances of the former, and all of them turned into two sets of axes.
  EXPECT_EQ(stage["evaluate/table-nf"].work, "420 rows");
  EXPECT_EQ(stage["evaluate/table-nf"].flops.float32, 2 * 16 * 16 * (3 * 400 + 2 * 20));

  // 5 steps of 32; validation after steps 3 and 5.
  EXPECT_EQ(stage["student/nf-0"].flops.float32, student * (3 * 160 + 2 * 2 * 10));

  // 50 samples, each inverted and denoised; scores of both.
  EXPECT_EQ(stage["evaluate/teacher"].flops.all(), teacher * 50 * 3 + classifier * 2 * 50);
  // The 20 test images.
  EXPECT_EQ(stage["evaluate/real"].flops.all(), classifier * 20);

  // Euler 1 and 4 and Heun 3 on the first grid, Euler 4 and Heun 3 on the second; curvature; pairing on two tables.
  const double independent = student * (50 * (1 + 4 + 3 + 4 + 3) + 6 * 5 + 2 * 7 * 2) + classifier * 50 * 5;
  EXPECT_EQ(stage["evaluate/independent-0"].flops.all(), independent);
  // nf besides: Euler 1 and 4 from the 20 rows of held-out noise; 7 pairs compared with the teacher's samples.
  EXPECT_EQ(stage["evaluate/nf-0"].flops.all(),
            independent + student * (20 * (1 + 4) + 7 * 2) + classifier * 20 * 2 + teacher * 3 * 7);
}

TEST(Estimate, CountsGuidanceTwice) {
  Config config = small_config();
  auto plain = by_stage(config);
  config.evaluate.guidance = {1.5};
  config.evaluate.teacher_guidance = 1;
  auto guided = by_stage(config);
  EXPECT_EQ(guided["evaluate/teacher"].flops.all() - plain["evaluate/teacher"].flops.all(), teacher * 50);
  EXPECT_EQ(guided["evaluate/independent-0"].flops.all() - plain["evaluate/independent-0"].flops.all(),
            student * (50 * 15 + 30 + 28));
}

TEST(Estimate, CountsLikelihoods) {
  Config config = small_config();
  auto plain = by_stage(config);
  config.evaluate.likelihood_rows = 3;
  config.evaluate.likelihood_probes = 2;
  auto estimated = by_stage(config);
  const auto more = [&](std::map<std::string, StageCost>& stages) {
    return stages["evaluate/independent-0"].flops.all() - plain["evaluate/independent-0"].flops.all();
  };
  // 3 rows, some 50 evaluations each, with a backward pass for each of the two probes.
  EXPECT_EQ(more(estimated), student * 3 * 50 * (1 + 2));
  EXPECT_EQ(estimated["evaluate/teacher"].flops.all() - plain["evaluate/teacher"].flops.all(), teacher * 3);
  // With the exact trace, a backward pass for each of the 16 values, of 5 draws.
  config.evaluate.likelihood_probes = 0;
  config.evaluate.likelihood_samples = 5;
  auto exact = by_stage(config);
  EXPECT_EQ(more(exact), student * 3 * 5 * 50 * (1 + 16));
}

TEST(Estimate, CountsTrainingByLikelihood) {
  Config config = small_config();
  config.student.objective = "likelihood";
  config.student.cnf_steps = 3;
  config.student.cnf_trace = "hutchinson";
  // 3 steps of 4 evaluations, each with a trace; computed twice and differentiated in training.
  EXPECT_EQ(by_stage(config)["student/nf-0"].flops.float32, student * 3 * 4 * 2 * (4 * 160 + 2 * 2 * 10));
}

TEST(Estimate, OfOneStepStudents) {
  Config config = small_config();
  config.student.kind = "image";
  config.evaluate.likelihood_rows = 3;
  config.evaluate.tolerance_samples = 4;
  config.evaluate.tolerances = {1e-3};
  auto stage = by_stage(config);
  EXPECT_EQ(stage["student/independent-0"].flops.float32, student * (3 * 160 + 2 * 2 * 10));
  // 50 samples, and pairs of both splits, at one evaluation; no paths, tolerances and likelihoods.
  EXPECT_EQ(stage["evaluate/independent-0"].flops.all(), student * (50 + 2 * 7) + classifier * 50);
  config.student.train_guidance = 2;
  EXPECT_EQ(by_stage(config)["student/independent-0"].flops.float32, student * (4 * 160 + 2 * 2 * 10));
  // Features: another classifier, of 3 channels and 6 features, forward for the image and for what is made of its
  // noise, and back through the latter.
  config.student.feature_weight = 1;
  auto with_features = by_stage(config);
  EXPECT_TRUE(with_features.contains("loss-features"));
  const double second = with_features["loss-features"].flops.float32 / (3 * 64 + 2 * 2 * 10 + 20);
  EXPECT_GT(second, classifier);
  EXPECT_EQ(with_features["student/independent-0"].flops.float32, student * (4 * 160 + 2 * 2 * 10) + 3 * second * 160);
}

TEST(Estimate, OfAlignedStudents) {
  Config config = small_config();
  config.student.kind = "image";
  config.student.depth = 2;
  auto plain = by_stage(config);
  config.compare = {"nf"};
  config.student.align_weight = 1;
  auto aligned = by_stage(config);
  // The teacher's first block of two; from the student's first layer of two, 4 tokens of 8 to 4 values: forward, and in
  // training back as well.
  constexpr double block = teacher / 2, map = 2 * 4 * 8 * 4;
  EXPECT_NEAR(aligned["student/nf-0"].flops.float32 - plain["student/nf-0"].flops.float32,
              (block + 3 * map) * 160 + (block + map) * 2 * 2 * 10, 1e-3);
  EXPECT_EQ(aligned["student/nf-0"].parameters, plain["student/nf-0"].parameters);
  // The teacher's pass stays in the table's precision, whatever the student's is.
  config.student.training.precision = "bfloat16";
  auto mixed = by_stage(config);
  const double network = plain["student/nf-0"].flops.float32 / (3 * 160 + 2 * 2 * 10);
  EXPECT_NEAR(mixed["student/nf-0"].flops.bfloat16, (network + map) * 3 * 160, 1e-3);
  EXPECT_NEAR(mixed["student/nf-0"].flops.float32, block * 160 + (network + block + map) * 2 * 2 * 10, 1e-3);
}

TEST(Estimate, CountsDisk) {
  const DiskEstimate disk = estimate(small_config()).disk;
  EXPECT_NEAR(disk.dataset, 120 * (16 + 4 + 2 * 8) * 1.02, 1e-6);
  // Each column has a checksum of 8 bytes a row. Noise in 16 bits, image, label, sample, flip, replicate, NLL, round
  // trip.
  EXPECT_NEAR(disk.coupling, 420 * (32 + 16 + 4 + 8 + 1 + 4 + 4 + 4 + 8 * 8) * 1.02, 1e-6);
  // Float32: weights and averages; with AdamW's moments in each of the two kept, the best one and the one being
  // written.
  EXPECT_EQ(disk.weights, 4 * (2 * (classifier_parameters + teacher_parameters) + 2 * 3 * student_parameters));
  EXPECT_EQ(disk.checkpoints, 4 * 4 * (4 * (classifier_parameters + teacher_parameters) + 2 * 5 * student_parameters));
}

TEST(Estimate, CountsParameters) {
  auto stage = by_stage(small_config());
  EXPECT_EQ(stage["features"].parameters, classifier_parameters);
  EXPECT_EQ(stage["teacher"].parameters, teacher_parameters);
  EXPECT_EQ(stage["student/nf-0"].parameters, student_parameters);
  EXPECT_EQ(stage["coupling/nf"].parameters, 0);
}

TEST(Estimate, OfATeacherAloneCountsNoStudent) {
  Config config = small_config();
  auto with_students = by_stage(config);
  config.compare = {};
  auto alone = by_stage(config);
  EXPECT_EQ(alone.size(), 6);
  for (const char* stage : {"features", "teacher", "evaluate/real", "evaluate/teacher"})
    EXPECT_EQ(alone[stage].flops.all(), with_students[stage].flops.all()) << stage;
}

/// What a stage of the small run asks of a number of ranks.
StageLoad load_of_stage(const std::string& name, const Config& config, std::int64_t ranks) {
  offer_members();
  const StageGraph graph = stage_graph(config, {});
  const StageNode& node = find_node(graph, name);
  const CostModel model{config, graph, small_dataset};
  return load_of(node, model, kind_of(node).cost(node, model), ranks, false);
}

Config config_with_tables() {
  Config config = small_config();
  config.prepare.block_rows = config.couple.block_rows = 10;
  config.prepare.shard_rows = config.couple.shard_rows = 50;
  config.prepare.window_blocks = config.student.window_blocks = 100;
  config.evaluate.slice_rows = 10;
  return config;
}

TEST(Load, ATreeAddsUpARanksOwnGroupsFirst) {
  Config config = config_with_tables();
  config.pipeline.reproducible = true;
  config.pipeline.slices = 2;
  const StageLoad few = load_of_stage("teacher", config, 2);
  config.pipeline.slices = 8;
  const StageLoad many = load_of_stage("teacher", config, 2);
  EXPECT_FALSE(many.collectives.contains("start_all_reduce"));
  EXPECT_EQ(many.collectives.at("all_gather").calls, few.collectives.at("all_gather").calls);
  // Four groups a rank: two sums wait for their neighbours.
  EXPECT_EQ(many.state_bytes - few.state_bytes, 2 * 4 * teacher_parameters);
}

TEST(Load, OfPreviewsIsThatOfTheirScores) {
  Config config = config_with_tables();
  config.teacher.preview.every = 0;
  const CollectiveLoad none = load_of_stage("teacher", config, 2).collectives.at("all_gather");
  const auto of_a_preview = [&](std::int64_t samples) {
    config.teacher.preview = {4, samples};
    const CollectiveLoad all = load_of_stage("teacher", config, 2).collectives.at("all_gather");
    return CollectiveLoad{all.calls - none.calls, all.bytes - none.bytes};
  };
  // A round of slices of 125, each a rank's word and 4 features and 3 figures of a sample.
  EXPECT_EQ(of_a_preview(30).calls, 2);
  EXPECT_EQ(of_a_preview(30).bytes, 8 + 125 * 4 * (4 + 3));
  // Too few samples for a score: two rounds of slices of 20 pictures of 16 values.
  EXPECT_EQ(of_a_preview(4).calls, 4);
  EXPECT_EQ(of_a_preview(4).bytes, 2 * (8 + 20 * 4 * 16));
}

TEST(Load, OfTheAutoencoderReadsImages) {
  Config config = config_with_tables();
  config.autoencoder = {training(96, 16, "bfloat16"), 2, autoencoder_norm_groups, 1, 1e-6};
  const StageGraph graph{{.name = "autoencoder", .kind = "autoencoder"}};
  const CostModel model{config, graph, small_dataset};
  const StageLoad load = load_of(graph[0], model, autoencoder_cost(graph[0], model), 1, false);
  // 100 rows of 16 bytes, once, of two shards of five blocks; those held out of one shard of two.
  const double opened = 2 * (48 + 16 * 5) + 48 + 16 * 2, trained = 100 * 16;
  // Validation, twice for raw weights and twice for averaged ones: 10 of 20 rows, with the checksum between two.
  const double validated = 4 * 10 * (16 + 2 * 8), at_the_end = 20 * (16 + 4);
  EXPECT_EQ(load.bytes_read - load.checkpoints * load.checkpoint_bytes, opened + trained + validated + at_the_end);
}

TEST(Load, OfAnUnknownKindFailsByName) {
  const Config config = config_with_tables();
  const StageGraph graph{{.name = "polished", .kind = "polish"}};
  try {
    load_of(graph[0], {config, graph, small_dataset}, {}, 1, false);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'polish'"), std::string::npos) << error.what();
  }
}

TEST(Estimate, NamesTheStageThatALibraryFailsAt) {
  const StageNode node{.name = "student/a-0", .kind = "student"};
  try {
    found_of(node, []() -> int { throw std::out_of_range("no such place"); });
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "stage student/a-0: no such place");
  }
}

TEST(Estimate, TurnsOperationsIntoHoursOfDevices) {
  EXPECT_EQ(device_seconds({6e12, 1e12}, {3e12, 1e12, 0.5}), 6);
}

TEST(Estimate, IsPrintedByStage) {
  Estimate made_up;
  made_up.stages = {{"teacher", "teacher", "10 steps of 8", {3e18, 0.06e18}, {0, 0, 2e9, 1e9}, 466286784},
                    {"report", "report", "", {}, {}}};
  made_up.disk = {1e9, 40e9, 2e9, 1e9};
  // 3e18 at half of 100 TFLOP/s and 0.06e18 at half of 10: 72000 s of a GPU, 5 hours on four.
  const std::string text = estimate_text(made_up,
                                         [](const std::string&) {
                                           return StageDevices{true, 4};
                                         },
                                         {100e12, 10e12, 0.5});
  for (const std::string part :
       {"teacher", "10 steps of 8", "466,286,784", "3.06 EFLOP", "20 GPU h", "5h 00m", "3.0 GB  4 GPUs",
        "products: 3.00 EFLOP in bfloat16, 60 PFLOP in float32", "44 GB in all", "coupling table 40 GB",
        "assumed: 50 % of 100 TFLOP/s (bfloat16) or 10 TFLOP/s (float32) a GPU"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
  EXPECT_EQ(text.find("a core"), std::string::npos) << text;
}

class DatasetSizeTest : public ::testing::Test {
protected:
  DatasetSizeTest() {
    std::string name = (std::filesystem::temp_directory_path() / "couplet-size-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail("no temporary directory");
    folder_ = name;
    config_.prepare.codec = "uint8";
    config_.prepare.format = "idx";
    config_.prepare.source = name;
    config_.prepare.train_images = "a";
    config_.prepare.train_labels = "b";
    config_.prepare.test_images = "c";
    config_.prepare.test_labels = "d";
  }
  ~DatasetSizeTest() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  std::filesystem::path folder_;
  Config config_;
};

TEST_F(DatasetSizeTest, IsReadFromTheHeadersOfTheSourceFiles) {
  write("a", testing::idx_pixels(3, 4, 4));
  write("b", testing::idx_text({3}, std::string{0, 4, 1}));
  testing::write_packed(folder_ / "c", testing::idx_pixels(2, 4, 4).substr(0, 20));  // its pixels are not looked at
  write("d", testing::idx_text({2}, std::string{5, 0}));
  const RunDirectory run(folder_ / "run");
  DatasetSize size = dataset_size(config_, run);
  EXPECT_EQ(size.train_rows, 3);
  EXPECT_EQ(size.test_rows, 2);
  EXPECT_EQ(size.shape.size, 4);
  EXPECT_EQ(size.shape.classes, 6);
  config_.prepare.train_rows = 2;
  EXPECT_EQ(dataset_size(config_, run).train_rows, 2);
  config_.prepare.train_labels = config_.prepare.test_labels = "";
  EXPECT_FALSE(dataset_size(config_, run).shape.has_classes());
}

TEST_F(DatasetSizeTest, NamesTheFileThatIsMissing) {
  try {
    dataset_size(config_, RunDirectory(folder_ / "run"));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find((folder_ / "a").string()), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace couplet
