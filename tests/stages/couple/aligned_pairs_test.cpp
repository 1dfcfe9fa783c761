// What an aligned student is given of its pairs: the images as the teacher carried them to their noise, of training
// rows with mirror images and draws, and of held-out ones.
#include "method/couplings/coupling.h"
#include "method/data/dataset.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/tensor/weights.h"
#include "stages/couple/gaussianisation.h"
#include "stages/couple/inversion.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "stages/prepare.h"
#include "stages/trained/models.h"
#include "tests/stages/couple/grey_source.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <string>

namespace couplet::testing {
namespace {

constexpr std::int64_t train_rows = 30, test_rows = 12, classes = 3;

/// A run whose teacher is there, with weights that are drawn here, and its tables.
class AlignedPairs : public ::testing::Test {
protected:
  AlignedPairs() : run_(folder_.path()) {
    offer_members();
    config_ = resolve_config("", {{"student.compare", "nf calm", ""},
                                  {"student.calm.coupling", "nf", ""},
                                  {"student.calm.gaussianise", "affine", ""},
                                  {"teacher.channels", "16", ""},
                                  {"teacher.head-size", "8", ""},
                                  {"teacher.blocks", "3", ""},
                                  {"teacher.layers", "1", ""},
                                  {"prepare.shard-rows", "20", ""},
                                  {"prepare.block-rows", "10", ""},
                                  {"couple.replicates", "2", ""},
                                  {"couple.shard-rows", "40", ""},
                                  {"couple.block-rows", "20", ""},
                                  {"couple.slice-rows", "16", ""},
                                  {"couple.noise-type", "float32", ""}});
    graph_ = stage_graph(config_, {});
    publish_dataset(grey_source(train_rows, test_rows, {.size = 8, .classes = classes, .of_image = 7, .of_value = 3}),
                    config_.prepare, run_, *ranks_);
    shape_ = dataset_shape(RowTable(run_.train_images(), dataset_format));
    at::manual_seed(3);
    const at::NoGradGuard no_grad;
    for (at::Tensor& parameter : teacher_->parameters()) parameter.normal_(0, 0.15);
    fs::create_directories(run_.stage("teacher"));
    publish_tensors(inverting_weights(config_, run_, "nf"), named_tensors(*teacher_));
    make("nf", inversion);
  }

  void make(const std::string& table, const ShardedTable& kind) {
    StageContext context{find_node(graph_, "coupling/" + table), graph_, config_, run_, *ranks_, c10::kCPU};
    make_sharded_table(context, kind);
  }

  std::unique_ptr<Coupling> open(const std::string& table) {
    CouplingSources sources;
    sources.train_table = run_.table(table, "train");
    sources.test_table = run_.table(table, "test");
    sources.seed = 5;
    sources.codec = shape_.codec;
    sources.teacher_noise =
        TeacherNoise{teacher_noise(config_.teacher), static_cast<std::uint64_t>(config_.pipeline.seed)};
    return find_coupling("nf").make(sources);
  }

  double sigma() const {
    return RowTable(run_.table("nf", "train"), coupling_format).summary().at("sigma_f").get<double>();
  }

  Folder folder_;
  std::unique_ptr<Communicator> ranks_ = make_single_communicator();
  RunDirectory run_;
  Config config_;
  StageGraph graph_;
  DatasetShape shape_;
  TarFlow teacher_ = make_tarflow({.in_channels = 1,
                                   .image_size = 8,
                                   .channels = 16,
                                   .blocks = 3,
                                   .layers = {1},
                                   .head_size = 8,
                                   .num_classes = classes},
                                  1);
};

const BatchRange epoch{0, 0, 4 * train_rows, 4 * train_rows};
const std::vector<std::int64_t> held_out{0, 4, 11};

TEST_F(AlignedPairs, TheTeachersStatesEndInTheTablesNoise) {
  const at::NoGradGuard no_grad;
  const auto coupling = open("nf");
  for (const Pairs& pairs : {coupling->draw(epoch), coupling->held_out(held_out)}) {
    const at::Tensor noise = teacher_->states(pairs.noised, pairs.label, 3).back() / sigma();
    EXPECT_LT((noise - pairs.noise).abs().max().item<double>(), 1e-4);
    EXPECT_GT((noise - pairs.image).abs().mean().item<double>(), 0.1) << "these weights change nothing";
    const at::Tensor added = pairs.noised - pairs.image;
    EXPECT_NEAR(added.square().mean().sqrt().item<double>(), config_.teacher.noise_std, 0.01);
  }
}

TEST_F(AlignedPairs, MapsOfTheNoiseLeaveThemAsTheyAre) {
  make("nf-affine", gaussianisation);
  const auto plain = open("nf"), mapped = open("nf-affine");
  const auto expect_same = [](const Pairs& a, const Pairs& b) {
    EXPECT_TRUE(a.noised.equal(b.noised));
    EXPECT_TRUE(a.label.equal(b.label));
    EXPECT_FALSE(a.noise.equal(b.noise));
  };
  expect_same(plain->draw(epoch), mapped->draw(epoch));
  expect_same(plain->held_out(held_out), mapped->held_out(held_out));
}

}  // namespace
}  // namespace couplet::testing
