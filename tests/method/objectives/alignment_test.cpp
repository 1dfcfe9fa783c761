// The layers of a student against the states of its teacher: which they are, and the distance by plain sums in double
// precision.
#include "method/objectives/alignment.h"

#include "method/models/patches.h"
#include "method/objectives/one_step.h"
#include "pipeline/tensor/autocast.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

using Places = std::vector<std::pair<std::int64_t, std::int64_t>>;

Places places(std::int64_t layers, std::int64_t blocks) {
  Places all;
  for (const AlignedState& state : aligned_states(layers, blocks)) all.emplace_back(state.layer, state.block);
  return all;
}

constexpr std::int64_t rows = 4, channels = 2, size = 6, patch = 2, tokens = 9, values = channels * patch * patch,
                       width = 12, depth = 4;

// Other patches than the student's.
const TarFlowOptions teacher_sizes{.in_channels = channels,
                                   .image_size = size,
                                   .patch = 3,
                                   .channels = 16,
                                   .blocks = 3,
                                   .layers = {1, 2, 1},
                                   .head_size = 8,
                                   .num_classes = 3};

/// Weights that all matter.
template <class Network>
Network drawn(Network network) {
  const at::NoGradGuard no_grad;
  for (at::Tensor& parameter : network->parameters()) parameter.normal_(0, 0.15);
  return network;
}

/// The first layers or blocks of a network in one that has no more.
template <class Network>
Network beginning(Network shorter, const torch::nn::Module& whole) {
  const NamedTensors named = named_tensors(whole);
  NamedTensors own;
  for (const auto& [name, tensor] : named_tensors(*shorter)) own[name] = named.at(name);
  load_tensors(*shorter, own, "beginning");
  return shorter;
}

std::shared_ptr<Field> network_of(std::int64_t layers, bool recompute = false) {
  return find_field("sit").make({.image_channels = channels,
                                 .image_size = size,
                                 .num_classes = 3,
                                 .patch = patch,
                                 .channels = width,
                                 .depth = layers,
                                 .heads = 3,
                                 .recompute = recompute},
                                1);
}

TarFlow teacher_of(std::int64_t blocks) {
  TarFlowOptions options = teacher_sizes;
  options.blocks = blocks;
  options.layers.resize(static_cast<std::size_t>(blocks));
  return make_tarflow(options, 2);
}

class AlignmentTest : public ::testing::Test {
protected:
  AlignmentTest() {
    at::manual_seed(8);
    network = drawn(network_of(depth));
    teacher = drawn(teacher_of(3));
    x = at::rand({rows, channels, size, size}) * 2 - 1;
    z = at::randn_like(x);
    noised = x + 0.1 * at::randn_like(x);
  }

  std::shared_ptr<Alignment> aligned(const std::string& precision = "float32") {
    return aligned_with(network, precision);
  }
  std::shared_ptr<Alignment> aligned_with(const std::shared_ptr<Field>& field, const std::string& precision) {
    return std::make_shared<Alignment>(field, teacher, AlignmentOptions{depth, width, patch, precision});
  }
  static std::shared_ptr<const Objective> objective(double guidance = 1) {
    return make_one_step(find_path("linear").make({}), {}, {.train_guidance = guidance});
  }
  Alignment::Measured measure(Alignment& alignment, double guidance = 1) {
    return alignment.measure(
        [&](Field& field) { return objective(guidance)->loss(field, x, z, at::ones({rows}), condition); }, noised,
        labels);
  }
  std::vector<at::Tensor> layers() {
    std::vector<at::Tensor> all;
    const at::Tensor output = network->forward_by_layers(z, at::ones({rows}), condition, all);
    EXPECT_TRUE(output.equal(network->forward(z, at::ones({rows}), condition)));
    return all;
  }

  std::shared_ptr<Field> network;
  TarFlow teacher{nullptr};
  at::Tensor x, z, noised, labels = at::tensor({0, 2, 1, 2}, at::kLong);
  Condition condition{at::tensor({0, 3, 1, 2}, at::kLong), {}};  // one is not said
};

TEST(AlignedStates, AreEvenlySpreadFromNoiseToImage) {
  EXPECT_EQ(places(4, 4), (Places{{1, 3}, {2, 2}, {3, 1}}));
  EXPECT_EQ(places(2, 8), (Places{{1, 4}}));
  EXPECT_EQ(places(4, 3), (Places{{1, 2}, {3, 1}}));
  EXPECT_EQ(places(12, 8), (Places{{2, 7}, {3, 6}, {5, 5}, {6, 4}, {8, 3}, {9, 2}, {11, 1}}));
  EXPECT_EQ(places(1, 8), Places{});
  for (std::int64_t layers = 2; layers < 30; ++layers)
    for (std::int64_t blocks = 2; blocks < 30; ++blocks) {
      std::int64_t layer = 0, block = blocks;
      for (const AlignedState& state : aligned_states(layers, blocks)) {
        EXPECT_LT(std::exchange(layer, state.layer), state.layer) << layers << ", " << blocks;
        EXPECT_LT(state.block, std::exchange(block, state.block)) << layers << ", " << blocks;
      }
      EXPECT_LT(layer, layers);
      EXPECT_GT(block, 0);
    }
}

// A state is what the blocks up to it make of the image: the way begins in the image and ends in its noise.
TEST_F(AlignmentTest, TheTeachersStatesLieBetweenImageAndNoise) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> states = teacher->states(noised, labels, 3);
  ASSERT_EQ(states.size(), 3);
  for (std::int64_t blocks = 1; blocks <= 3; ++blocks) {
    TarFlow part = beginning(teacher_of(blocks), *teacher);
    const at::Tensor state = patchify(states[static_cast<std::size_t>(blocks - 1)], teacher_sizes.patch);
    EXPECT_TRUE(state.equal(part(noised, labels).z)) << blocks;
    EXPECT_TRUE(part->reverse(state, labels).allclose(noised, 1e-4, 1e-4)) << blocks;
  }
  EXPECT_EQ(teacher->states(noised, labels, 1).size(), 1);
}

TEST_F(AlignmentTest, LayersAreThoseOfTheNetwork) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> all = layers();
  ASSERT_EQ(all.size(), depth);
  for (std::int64_t count = 1; count <= depth; ++count) {
    std::vector<at::Tensor> part;
    beginning(network_of(count), *network)->forward_by_layers(z, at::ones({rows}), condition, part);
    EXPECT_EQ(part.back().sizes(), at::IntArrayRef({rows, tokens, width}));
    EXPECT_TRUE(part.back().equal(all[static_cast<std::size_t>(count - 1)])) << count;
  }
}

TEST_F(AlignmentTest, TheDistanceIsTheMeanSquareErrorByPlainSums) {
  const at::NoGradGuard no_grad;
  const auto alignment = drawn(aligned());  // the maps, too
  const std::vector<at::Tensor> all = layers(), states = teacher->states(noised, labels, 3);
  const NamedTensors weights = named_tensors(*alignment);
  const Places at{{1, 2}, {3, 1}};
  std::vector<double> expected(rows);
  for (std::size_t i = 0; i < at.size(); ++i) {
    const auto double_of = [](const at::Tensor& tensor) { return tensor.to(at::kDouble).contiguous(); };
    const at::Tensor hidden = double_of(all[static_cast<std::size_t>(at[i].first - 1)]),
                     state = double_of(states[static_cast<std::size_t>(at[i].second - 1)]),
                     map = double_of(weights.at("maps." + std::to_string(i) + ".weight")),
                     offset = double_of(weights.at("maps." + std::to_string(i) + ".bias"));
    const auto h = hidden.accessor<double, 3>();
    const auto s = state.accessor<double, 4>();
    const auto w = map.accessor<double, 2>();
    const auto b = offset.accessor<double, 1>();
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t channel = 0; channel < channels; ++channel)
        for (std::int64_t down = 0; down < size; ++down)
          for (std::int64_t across = 0; across < size; ++across) {
            const std::int64_t token = down / patch * (size / patch) + across / patch,
                               value = (channel * patch + down % patch) * patch + across % patch;
            double made = b[value];
            for (std::int64_t j = 0; j < width; ++j) made += w[value][j] * h[row][token][j];
            expected[static_cast<std::size_t>(row)] +=
                std::pow(made - s[row][channel][down][across], 2) / (channels * size * size) / 2;
          }
  }
  const Alignment::Measured measured = measure(*alignment);
  EXPECT_TRUE(measured.objective.equal(objective()->loss(*network, x, z, at::ones({rows}), condition)));
  ASSERT_EQ(measured.distance.sizes(), at::IntArrayRef({rows}));
  for (std::int64_t row = 0; row < rows; ++row)
    EXPECT_NEAR(measured.distance[row].item<double>(), expected[static_cast<std::size_t>(row)], 1e-5);
}

TEST_F(AlignmentTest, GradientsFlowToTheMapsAndToTheLayersBeforeThem) {
  const auto alignment = drawn(aligned());
  measure(*alignment).distance.sum().backward();
  const auto has_gradient = [&](const std::string& name) {
    const at::Tensor& gradient = alignment->named_parameters()[name].grad();
    return gradient.defined() && gradient.abs().max().item<double>() > 0;
  };
  for (const char* name :
       {"maps.0.weight", "maps.1.bias", "network.x_embedder.proj.weight", "network.blocks.2.mlp.fc2.weight"})
    EXPECT_TRUE(has_gradient(name)) << name;
  for (const char* name : {"network.blocks.3.attn.qkv.weight", "network.final_layer.linear.weight"})
    EXPECT_FALSE(has_gradient(name)) << name;
  for (const at::Tensor& parameter : teacher->parameters()) EXPECT_FALSE(parameter.grad().defined());
}

// What guidance at training time asks for besides is not compared.
TEST_F(AlignmentTest, OnlyTheFirstPassIsCompared) {
  const auto alignment = drawn(aligned());
  const Alignment::Measured plain = measure(*alignment), guided = measure(*alignment, 2);
  EXPECT_TRUE(guided.distance.equal(plain.distance));
  EXPECT_FALSE(guided.objective.equal(plain.objective));
}

TEST_F(AlignmentTest, LayersThatAreComputedAgainGiveTheSameGradients) {
  const auto gradients = [&](bool recompute) {
    const auto alignment = aligned_with(beginning(network_of(depth, recompute), *network), "float32");
    at::manual_seed(4);
    drawn(alignment);
    const Alignment::Measured measured = measure(*alignment);
    (measured.objective + 0.5 * measured.distance.mean()).backward();
    std::vector<at::Tensor> all;
    for (const at::Tensor& parameter : alignment->parameters()) all.push_back(parameter.grad());
    return all;
  };
  const std::vector<at::Tensor> kept = gradients(false), again = gradients(true);
  ASSERT_EQ(kept.size(), again.size());
  for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(kept[i].equal(again[i])) << i;
}

// With maps at zero the distance is the states' mean square alone.
TEST_F(AlignmentTest, TheTeacherHasItsOwnPrecision) {
  const at::NoGradGuard no_grad;
  const auto exact = aligned(), rounded = aligned("bfloat16");
  const at::Tensor expected = measure(*exact).distance, other = measure(*rounded).distance;
  EXPECT_FALSE(other.equal(expected));
  EXPECT_TRUE(other.allclose(expected, 0.05));
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  const Autocast autocast("bfloat16", at::kCPU);
  EXPECT_TRUE(measure(*exact).distance.equal(expected)) << "the student's precision";
  EXPECT_TRUE(measure(*rounded).distance.equal(other));
  EXPECT_TRUE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST_F(AlignmentTest, TheNetworkIsPublishedWithoutItsMaps) {
  const NamedTensors own = named_tensors(*network), trained = named_tensors(*aligned()),
                     published = Alignment::network_of(trained);
  EXPECT_EQ(trained.size(), own.size() + 4) << "weights and biases of two maps, and nothing of the teacher";
  ASSERT_EQ(published.size(), own.size());
  for (const auto& [name, tensor] : own) EXPECT_TRUE(published.at(name).is_same(tensor)) << name;
}

TEST_F(AlignmentTest, OperationsAreThoseOfTheBlocksThatItNeedsAndOfTheMaps) {
  const double maps = 2.0 * 2 * tokens * width * values;
  const AlignmentFlops flops = forward_flops(teacher_sizes, {depth, width, patch});
  EXPECT_EQ(flops.teacher, forward_flops(teacher_of(2)->options()));
  EXPECT_EQ(flops.maps, maps);
}

}  // namespace
}  // namespace couplet
