// Tables of a student's flow, against the same flow followed here step by step, on any number of ranks.
#include "stages/couple/reflow.h"

#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "pipeline/config/options.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/weights.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "stages/prepare.h"
#include "stages/trained/models.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "tests/pipeline/ranks.h"
#include "tests/stages/couple/grey_source.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

constexpr std::int64_t train_rows = 70, test_rows = 25, classes = 3, steps = 4;

/// A run whose student `first` is there, with weights that are drawn here.
class ReflowTest : public ::testing::Test {
protected:
  ReflowTest() : run_(ranks().broadcast_text(folder_.path().string(), 0)) {
    offer_members();
    config_ = resolve_config("", {{"student.compare", "first reflow second", ""},
                                  {"student.first.coupling", "independent", ""},
                                  {"student.reflow.reflow-of", "first", ""},
                                  {"student.second.coupling", "reflow", ""},
                                  {"student.second.reflow-of", "reflow", ""},
                                  {"student.channels", "12", ""},
                                  {"student.heads", "3", ""},
                                  {"student.depth", "1", ""},
                                  {"prepare.shard-rows", "40", ""},
                                  {"prepare.block-rows", "20", ""},
                                  {"couple.shard-rows", "40", ""},
                                  {"couple.block-rows", "20", ""},
                                  {"couple.slice-rows", "16", ""},
                                  {"couple.noise-type", "float32", ""},
                                  {"couple.reflow-first.solver", "euler", ""},
                                  {"couple.reflow-first.nfe", std::to_string(steps), ""}});
    graph_ = stage_graph(config_, {});
    publish_dataset(grey_source(train_rows, test_rows, {.size = 8, .classes = classes, .of_image = 3, .of_class = 5}),
                    config_.prepare, run_, ranks());
    ranks().barrier();
    shape_ = dataset_shape(RowTable(run_.train_images(), dataset_format));
    for (const char* name : {"first", "reflow"}) publish_student(name);
    ranks().barrier();
  }
  ~ReflowTest() override { ranks().barrier(); }

  std::shared_ptr<Field> field_of(const std::string& name) {
    const StudentConfig student = student_config(config_, name);
    auto field = find_field(student.field).make(student_options(student, shape_), 1);
    const at::NoGradGuard no_grad;
    std::uint64_t index = name == "first" ? 0 : 1000;
    for (at::Tensor& parameter : field->parameters())
      parameter.copy_(
          normal_rows({parameter.numel()}, 9, Purpose::initial_weights, {static_cast<std::int64_t>(index++)})
              .view(parameter.sizes()) *
          0.1);
    return field;
  }

  void publish_student(const std::string& name) {
    if (!ranks().is_root()) return;
    fs::create_directories(run_.student(name, 0));
    publish_tensors(run_.student(name, 0) / "ema.safetensors", named_tensors(*field_of(name)), {});
  }

  void make(const std::string& table) {
    const StageNode& node = find_node(graph_, "coupling/" + table);
    StageContext context{node, graph_, config_, run_, ranks(), c10::kCPU};
    make_sharded_table(context, reflow);
    ranks().barrier();
  }

  /// Where the flow of `first` carries z, by steps of Euler.
  at::Tensor carried(const at::Tensor& z, const at::Tensor& labels) {
    const at::NoGradGuard no_grad;
    const auto field = field_of("first");
    at::Tensor x = z;
    for (std::int64_t step = steps; step > 0; --step) {
      const at::Tensor t = at::full({z.size(0)}, static_cast<double>(step) / steps, at::kFloat);
      x = x - field->forward(x, t, {labels, {}}) / static_cast<double>(steps);
    }
    return x;
  }

  Folder folder_;
  RunDirectory run_;
  Config config_;
  StageGraph graph_;
  DatasetShape shape_;
};

TEST_F(ReflowTest, ARowIsFreshNoiseAndWhereTheFlowCarriesIt) {
  make("reflow-first");
  for (const std::string split : {"train", "test"}) {
    const RowTable table(run_.table("reflow-first", split), coupling_format);
    const RowTable images(split == "train" ? run_.train_images() : run_.test_images(), dataset_format);
    const std::int64_t rows = table.rows();
    EXPECT_EQ(rows, split == "train" ? 2 * train_rows : test_rows);
    const at::Tensor z = read_rows(table, "noise", 0, rows), x = read_rows(table, "image", 0, rows);
    const at::Tensor labels = read_rows(table, "label", 0, rows).to(at::kLong);
    const at::Tensor samples = read_rows(table, "sample", 0, rows);
    EXPECT_TRUE(labels.equal(read_rows(images, "label", 0, images.rows()).to(at::kLong).index_select(0, samples)));
    EXPECT_LT((x - carried(z, labels)).abs().max().item<double>(), 1e-5);
    EXPECT_GT((x - z).abs().max().item<double>(), 0.1) << "the flow of these weights goes nowhere";
    EXPECT_NEAR(z.mean().item<double>(), 0, 0.05);
    EXPECT_NEAR(z.var().item<double>(), 1, 0.05);
    EXPECT_NEAR(table.summary().at("sigma_f").get<double>(), z.square().mean().sqrt().item<double>(), 1e-6);
    EXPECT_EQ(table.summary().at("evaluations"), steps);
    EXPECT_EQ(table.provenance().at("student"), "first");
    EXPECT_EQ(table.provenance().at("weights"), hash_file(run_.student("first", 0) / "ema.safetensors"));
  }
}

TEST_F(ReflowTest, EveryRoundAndSplitHasNoiseOfItsOwn) {
  make("reflow-first");
  make("reflow-reflow");
  std::vector<at::Tensor> noises;
  for (const char* name : {"reflow-first", "reflow-reflow"})
    for (const char* split : {"train", "test"}) {
      const RowTable table(run_.table(name, split), coupling_format);
      noises.push_back(read_rows(table, "noise", 0, test_rows));
    }
  for (std::size_t i = 0; i < noises.size(); ++i)
    for (std::size_t k = 0; k < i; ++k) EXPECT_GT((noises[i] - noises[k]).abs().min().item<double>(), 0);
  const RowTable second(run_.table("reflow-reflow", "train"), coupling_format);
  EXPECT_EQ(second.provenance().at("round"), 2);
}

// On one rank and on several: what is missing is made as it was, to the byte.
TEST_F(ReflowTest, AMissingShardIsMadeAgainToTheByte) {
  make("reflow-first");
  const fs::path directory = run_.table("reflow-first", "train");
  const std::string before = RowTable(directory, coupling_format).content_hash();
  ranks().barrier();
  if (ranks().is_root()) {
    fs::remove(directory / "shard-00001-of-00004.h5");
    fs::remove(directory / "manifest.json");
  }
  ranks().barrier();
  make("reflow-first");
  EXPECT_EQ(RowTable(directory, coupling_format).content_hash(), before);
}

}  // namespace
}  // namespace couplet::testing
