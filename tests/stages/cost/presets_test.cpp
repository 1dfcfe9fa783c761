// Every preset of configs/: the models that it asks for are built without memory and counted, published ones have the
// published numbers, and what training costs is what docs/presets.md says.
#include "method/data/codec.h"
#include "method/models/fields/sit.h"
#include "method/models/tarflow.h"
#include "pipeline/config/options.h"
#include "pipeline/tensor/weights.h"
#include "pipeline/tensor/without_memory.h"
#include "stages/cost/estimate_table.h"
#include "stages/cost/model_layout.h"
#include "stages/cost/stage_load.h"
#include "stages/data/run_source.h"
#include "stages/data/seen_rows.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// Counts all values of a module, as published figures do, which include fixed positions.
std::int64_t values_of(const torch::nn::Module& module) {
  std::int64_t all = 0;
  for (const auto& [name, tensor] : named_tensors(module)) {
    EXPECT_TRUE(tensor.is_meta()) << name;
    all += tensor.numel();
  }
  return all;
}

/// Stands for the program of latents, which only sizes are asked of.
class Latents : public Codec {
public:
  Latents() : Codec("latent", ElementType::float16) {}
  at::Tensor encode(const at::Tensor& stored) const override { return stored; }
  at::Tensor decode(const at::Tensor& seen) const override { return seen; }
  std::vector<std::int64_t> pixel_shape(std::vector<std::int64_t> seen) const override {
    return {3, 8 * seen[1], 8 * seen[2]};
  }
  bool tables_hold_seen() const override { return true; }
  double levels() const override { return 0; }
};

/// What is said of a preset. Hours are of H100 at 40 % of 989 TFLOP/s; 0: none, or not told.
struct Told {
  DatasetSize dataset;
  std::int64_t teacher = 0;         ///< parameters
  std::int64_t student = 0;         ///< parameters
  std::int64_t student_values = 0;  ///< with fixed positions
  double teacher_hours = 0, student_hours = 0;
  double table_gigabytes = 0;
};

constexpr std::int64_t imagenet_rows = 1281167, imagenet_held_out = 50000;

DatasetSize imagenet(std::int64_t size, std::int64_t classes = 1000) {
  return {imagenet_rows, imagenet_held_out, {3, size, classes, {}}, imagenet_rows};
}

/// Of whatever lies in configs/: one that is missing here has not been thought of.
const std::map<std::string, Told>& told() {
  const DatasetSize fashion{60000, 10000, {1, 28, 10, {}}};
  const std::int64_t xl4 = 674890032, xl4_values = 675184944;
  static const std::map<std::string, Told> all{
      {"imagenet64", {imagenet(64), 466286784, xl4, xl4_values, 1281, 134, 98}},
      {"imagenet64-deep", {imagenet(64), 718940256, xl4, xl4_values, 1856, 134, 98}},
      {"imagenet64-1gpu", {imagenet(64), 131885952, 130352688, 130549296, 9.7, 6.5, 98}},
      {"imagenet32", {imagenet(32), 234756288, 130297356, 130493964, 34.5, 6.5, 25}},
      {"cifar10", {{50000, 10000, {3, 32, 10, {}}}, 57363552, 32475660, 32573964, 3.3, 1.3, 1.04}},
      // Without labels our teacher has a table of one class: 768 numbers in each of 8 blocks.
      {"imagenet64-bpd", {.dataset = imagenet(64, 0), .teacher = 460142784 + 8 * 768, .teacher_hours = 306}},
      {"imagenet128", {.dataset = imagenet(128), .teacher = 823927552, .teacher_hours = 1662}},
      {"afhq256", {.dataset = {14630, 1500, {3, 256, 3, {}}}, .teacher = 463481856, .teacher_hours = 140}},
      {"imagenet256-latent",
       // Latents of both mirror images.
       {{2 * imagenet_rows, imagenet_held_out, {4, 32, 1000, {}}, imagenet_rows},
        715069568,
        674816272,
        675111184,
        422,
        134,
        44}},
      {"fashion", {fashion}},
      {"fashion-long", {fashion}},
      {"fashion-smoke", {{6000, 1000, {1, 28, 10, {}}}}},
      {"couplings", {fashion}},
      {"one-step", {fashion}},
      {"prior-gap", {fashion}},
      {"flow-family", {fashion}},
      {"super-resolution", {fashion}},
      {"emoji", {{3277, 364, {3, 64, 9, {}}}}},
      {"emoji-latent", {{3277, 364, {4, 16, 9, {}}}}},
      {"toy", {{20000, 5000, {2, 1, 0, {}}}}}};
  return all;
}

std::map<std::string, std::filesystem::path> presets() {
  std::map<std::string, std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(COUPLET_SOURCE_DIR "/configs"))
    if (entry.path().extension() == ".ini") found[entry.path().stem().string()] = entry.path();
  return found;
}

struct Preset {
  Config config;
  StageGraph graph;
  DatasetSize dataset;

  std::map<std::string, StageCost> costs() const {
    std::map<std::string, StageCost> all;
    for (const StageCost& stage : estimate_run(config, dataset, graph).stages) all[stage.stage] = stage;
    return all;
  }
};

Preset read_preset(const std::filesystem::path& path, const Told& told) {
  offer_members();
  Preset preset{resolve_config(path, {}), {}, told.dataset};
  DatasetShape& shape = preset.dataset.shape;
  shape.low_resolution = low_resolution(preset.config.prepare);
  if (preset.config.prepare.codec == "float")
    shape.codec = find_codec(preset.config.prepare.codec).make(nlohmann::json::object(), {});
  if (has_latents(preset.config)) shape.codec = std::make_shared<Latents>();
  preset.graph = stage_graph(preset.config, {.has_classes = shape.has_classes()});
  return preset;
}

double hours_of(const StageCost& stage) {
  return device_seconds(stage.flops, {989e12, 989e12, 0.4}) / 3600;
}

/// Told numbers are rounded, and leave validation and previews out.
void expect_near(double found, double told, const std::string& what) {
  EXPECT_NEAR(found, told, 0.02 * told) << what;
}

TEST(Presets, AreAllToldOf) {
  const std::string docs =
      read_file(COUPLET_SOURCE_DIR "/README.md") + read_file(COUPLET_SOURCE_DIR "/docs/presets.md");
  for (const auto& [name, path] : presets()) {
    EXPECT_TRUE(told().contains(name)) << path << ": say in this test what data set it is for";
    EXPECT_NE(docs.find("configs/" + name + ".ini"), std::string::npos)
        << path << ": neither README.md nor docs/presets.md names it";
  }
}

TEST(Presets, BuildTheModelsThatTheirEstimateCounts) {
  std::size_t built = 0;
  for (const auto& [name, path] : presets()) {
    if (!told().contains(name)) continue;
    ++built;
    const Preset preset = read_preset(path, told().at(name));
    const CostModel model{preset.config, preset.graph, preset.dataset};
    auto costs = preset.costs();
    for (const StageNode& node : preset.graph) {
      const StageCost& cost = costs.at(node.name);
      // Four bytes a parameter; none of a stage that trains nothing.
      const ModelLayout layout = layout_of(node, model, false, 1);
      EXPECT_EQ(layout.trained_bytes, 4 * static_cast<double>(cost.parameters)) << name << ", " << node.name;
      const std::int64_t values = told().at(name).student_values;
      if (node.kind == "student" && values > 0) {
        EXPECT_EQ(layout.bytes, 4 * static_cast<double>(values)) << name << ", " << node.name;
      }
      EXPECT_EQ(load_of(node, model, cost, 8, true).layout.tensors, layout.tensors) << name << ", " << node.name;
    }
  }
  EXPECT_EQ(built, told().size());
}

TEST(Presets, HaveTheNumbersAndCostsThatAreTold) {
  int with_teachers = 0;
  for (const auto& [name, path] : presets()) {
    if (!told().contains(name)) continue;
    const Told& expected = told().at(name);
    const Preset preset = read_preset(path, expected);
    if (expected.teacher == 0) continue;
    ++with_teachers;
    auto costs = preset.costs();
    EXPECT_EQ(costs.at("teacher").parameters, expected.teacher) << name;
    expect_near(hours_of(costs.at("teacher")), expected.teacher_hours, name + ": hours of the teacher");
    EXPECT_EQ(preset.config.compare.empty(), expected.student == 0) << name;
    for (const std::string& student : preset.config.compare) {
      EXPECT_EQ(costs.at("student/" + student + "-0").parameters, expected.student) << name;
      expect_near(hours_of(costs.at("student/" + student + "-0")), expected.student_hours,
                  name + ": hours of a student");
    }
    if (expected.table_gigabytes > 0)
      expect_near(costs.at("coupling/nf").disk.coupling / 1e9, expected.table_gigabytes, name + ": the table");
  }
  EXPECT_GE(with_teachers, 8);
}

// What no preset builds: fields of SiT as published, which also learn a variance, and flows without classes.
TEST(Presets, PublishedModelsHaveThePublishedNumbers) {
  struct Published {
    std::string name;
    SiTOptions options;
    std::int64_t values;
  };
  const auto sit = [](std::int64_t depth, std::int64_t channels, std::int64_t heads) {
    return SiTOptions{.in_channels = 4,
                      .image_size = 32,
                      .patch = 2,
                      .channels = channels,
                      .depth = depth,
                      .heads = heads,
                      .num_classes = 1000,
                      .learn_sigma = true};
  };
  SiTOptions xl4 = sit(28, 1152, 16);
  xl4.in_channels = 3;
  xl4.image_size = 64;
  xl4.patch = 4;
  const WithoutMemory on_meta;
  for (const auto& [name, options, values] : std::vector<Published>{{"S/2", sit(12, 384, 6), 32963360},
                                                                    {"B/2", sit(12, 768, 12), 130512416},
                                                                    {"L/2", sit(24, 1024, 16), 458102816},
                                                                    {"XL/2", sit(28, 1152, 16), 675129632},
                                                                    {"XL/4", xl4, 675240288}})
    EXPECT_EQ(values_of(*make_sit(options, 0)), values) << "SiT-" << name;
  const auto tarflow = [](std::int64_t patch, std::int64_t channels, std::int64_t classes) {
    const TarFlowOptions options{.in_channels = 3,
                                 .image_size = 64,
                                 .patch = patch,
                                 .channels = channels,
                                 .blocks = 8,
                                 .layers = {8},
                                 .num_classes = classes};
    return parameter_count(*make_tarflow(options, 0));
  };
  EXPECT_EQ(tarflow(2, 768, 1000), 466286784);
  EXPECT_EQ(tarflow(2, 768, 0), 460142784);
  EXPECT_EQ(tarflow(4, 1024, 1000), 817636096);
}

}  // namespace
}  // namespace couplet
