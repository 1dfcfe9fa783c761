#include "method/models/fields/sit.h"

#include "storage/error.h"
#include "tests/method/reference.h"
#include "tests/pipeline/training/memory_peak.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace couplet::testing {
namespace {

const SiTOptions small{.in_channels = 2,
                       .image_size = 6,
                       .patch = 2,
                       .channels = 24,
                       .depth = 2,
                       .heads = 3,
                       .num_classes = 4,
                       .mlp_ratio = 4,
                       .learn_sigma = false};

/// A model in which every weight matters: at first its modulations and output are zero.
SiT trained(const SiTOptions& options) {
  auto model = make_sit(options, 5);
  const at::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) parameter.normal_(0, 0.15);
  return model;
}

struct Inputs {
  at::Tensor x = at::randn({4, 2, 6, 6}), t = at::rand({4});
  Condition y{at::tensor({0, 3, 1, 2}, at::kLong), {}};

  Condition labelled(std::int64_t label) const { return {at::full_like(y.labels, label), {}}; }
};

TEST(SiT, PositionsAreSinesThenCosinesOfColumnThenRow) {
  const std::int64_t channels = 24, side = 5, half = channels / 2, quarter = channels / 4;
  const auto positions = sincos_positions(channels, side);
  for (std::int64_t token = 0; token < side * side; ++token) {
    for (std::int64_t k = 0; k < channels; ++k) {
      const auto place = static_cast<double>(k < half ? token % side : token / side);
      const auto wave = static_cast<double>(k % quarter) / static_cast<double>(quarter);
      const auto angle = place / std::pow(10000.0, wave);
      const auto expected = k % half < quarter ? std::sin(angle) : std::cos(angle);
      EXPECT_NEAR(positions[0][token][k].item<double>(), expected, 1e-6) << token << " " << k;
    }
  }
}

TEST(SiT, StartsAsTheZeroField) {
  const Inputs in;
  auto model = make_sit(small, 1);
  EXPECT_EQ(model(in.x, in.t, in.y).abs().max().item<double>(), 0);
}

TEST(SiT, GuidanceExtrapolatesFromTheUnlabelledField) {
  const Inputs in;
  auto model = trained(small);
  const auto labelled = model(in.x, in.t, in.y);
  const auto unlabelled = model(in.x, in.t, in.labelled(small.num_classes));
  for (const double scale : {0.0, 1.0, 1.5, 4.0}) {
    EXPECT_LE(difference(guided_output(*model, in.x, in.t, in.y, scale), unlabelled + scale * (labelled - unlabelled)),
              forward_tolerance);
  }
  EXPECT_GT(difference(labelled, unlabelled), 1e-3);
  EXPECT_EQ(difference(model(in.x, in.t, in.labelled(-1)), unlabelled), 0);
}

TEST(SiT, ReversedTimeIsAnInvolutionOnWeightsAndFlipsTheField) {
  const Inputs in;
  auto model = trained(small), reversed = make_sit(small, 2);
  const auto own = named_tensors(*model);
  load_tensors(*reversed, reverse_time(own), "reversed");
  EXPECT_LE(difference(reversed(in.x, 1 - in.t, in.y), -model(in.x, in.t, in.y)), forward_tolerance);
  // What `couplet export` writes comes back through student.init.
  const auto twice = reverse_time(reverse_time(own)), imported = import_sit(reverse_time(own));
  for (const auto& [name, tensor] : own) {
    EXPECT_LE(difference(twice.at(name), tensor), 1e-6) << name;
    EXPECT_LE(difference(imported.at(name), tensor), 1e-6) << name;
  }
}

TEST(SiT, ImportKeepsTheFieldOfWeightsThatAlsoLearnSigma) {
  const Inputs in;
  auto options = small;
  options.learn_sigma = true;
  auto published = trained(options), ours = make_sit(small, 2);
  load_tensors(*ours, import_sit(named_tensors(*published)), "published");
  EXPECT_LE(difference(ours(in.x, 1 - in.t, in.y), -published(in.x, in.t, in.y)), forward_tolerance);
}

// 10a555e said "these are no SiT weights" without the file, and did not see what the names had in common.
TEST(SiT, WeightsOfAWrappedModelAreRefusedByTheirFileAndPrefix) {
  auto ours = make_sit(small, 2);
  const auto refusal_of = [&](const NamedTensors& published) -> std::string {
    try {
      load_tensors(*ours, import_sit(published), "init.safetensors");
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  for (const std::string prefix : {"module.", "_orig_mod.", "module._orig_mod."}) {
    NamedTensors wrapped;
    for (const auto& [name, tensor] : named_tensors(*ours)) wrapped[prefix + name] = tensor;
    const std::string refusal = refusal_of(wrapped);
    EXPECT_TRUE(refusal.starts_with("init.safetensors: holds " + prefix + "blocks.0.")) << refusal;
    EXPECT_NE(refusal.find(", where the model has blocks.0."), std::string::npos) << refusal;
    EXPECT_NE(refusal.find("take '" + prefix + "' off the names"), std::string::npos) << refusal;
  }
  const std::string refusal = refusal_of({{"conv.weight", at::zeros({2, 3})}});
  EXPECT_TRUE(refusal.starts_with("init.safetensors: the model's blocks.0.")) << refusal;
  EXPECT_NE(refusal.find("hold conv.weight instead"), std::string::npos) << refusal;
  NamedTensors other_waves = named_tensors(*ours);
  other_waves["t_embedder.mlp.0.weight"] = at::zeros({24, 64});
  EXPECT_TRUE(refusal_of(other_waves).starts_with("init.safetensors: t_embedder.mlp.0.weight has shape [24, 64]"));
}

TEST(SiT, GuidanceKeepsARowsImage) {
  /// Gives what it is conditioned on.
  class Echo : public Field {
  public:
    at::Tensor forward(const at::Tensor&, const at::Tensor&, const Condition& condition) override {
      return condition.image * condition.labels.view({-1, 1, 1, 1});
    }
    std::int64_t no_label() const override { return 10; }
    double forward_flops() const override { return 0; }
    std::int64_t activation_values() const override { return 0; }
    std::map<std::string, std::string> sizes() const override { return {}; }
  };
  Echo field;
  const at::Tensor x = at::zeros({2, 1, 1, 1}), image = at::tensor({1.0, 2.0}).view({2, 1, 1, 1});
  const at::Tensor guided = guided_output(field, x, at::zeros({2}), {at::tensor({3, 4}), image}, 2);
  EXPECT_TRUE(guided.flatten().equal(at::tensor({2 * 3.0 - 10, 2 * (2 * 4.0 - 10)}))) << guided;
}

TEST(SiT, IsAFieldOfTheRegistry) {
  const FieldKind& kind = find_field("sit");
  const FieldOptions options{
      .image_channels = 2, .image_size = 6, .num_classes = 4, .patch = 2, .channels = 24, .depth = 2, .heads = 3};
  const std::shared_ptr<Field> field = kind.make(options, 5);
  EXPECT_EQ(tensors_hash(named_tensors(*field)), tensors_hash(named_tensors(*make_sit(small, 5))));
  EXPECT_EQ(kind.parameter_count(options), parameter_count(*field));
  EXPECT_EQ(kind.forward_flops(options), field->forward_flops());
  EXPECT_EQ(field->no_label(), 4);
  EXPECT_EQ(field->sizes().at("hidden_size"), "24");
}

TEST(SiT, AnUnknownFieldIsRefusedWithTheNearest) {
  try {
    find_field("sitt");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    EXPECT_NE(std::string(error.what()).find("'sit'"), std::string::npos) << error.what();
  }
}

// With so many tokens, attention keeps no scores on a CPU either.
TEST(SiT, SaysAboutWhatItKeepsForTheBackwardPass) {
  for (const bool recompute : {false, true}) {
    const SiTOptions options{
        .image_size = 36, .patch = 2, .channels = 32, .depth = 5, .heads = 2, .recompute = recompute};
    SiT model = trained(options);
    const std::int64_t rows = 4;
    const at::Tensor x = at::randn({rows, 1, 36, 36}), t = at::rand({rows}), y = at::zeros({rows}, at::kLong);
    const MemoryPeak peak;
    model->forward(x, t, {y, {}}).square().mean().backward();
    const double said = static_cast<double>(4 * rows * model->activation_values());
    const double gradients = 4.0 * static_cast<double>(parameter_count(options));
    const double found = static_cast<double>(peak.bytes()) - gradients;
    EXPECT_GT(said, 0.6 * found) << "recompute: " << recompute;
    EXPECT_LT(said, 1.4 * found) << "recompute: " << recompute;
  }
}

TEST(SiT, SeedDecidesTheWeights) {
  const auto hash = [](std::uint64_t seed) { return tensors_hash(named_tensors(*make_sit(small, seed))); };
  EXPECT_EQ(hash(3), hash(3));
  EXPECT_NE(hash(3), hash(4));
}

TEST(SiT, RefusesSizesThatDoNotFit) {
  const auto message = [](void (*change)(FieldOptions&)) -> std::string {
    FieldOptions options{.image_channels = small.in_channels,
                         .image_size = small.image_size,
                         .num_classes = small.num_classes,
                         .patch = small.patch,
                         .channels = small.channels,
                         .depth = small.depth,
                         .heads = small.heads};
    change(options);
    try {
      find_field("sit").check(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message([](FieldOptions& o) { o.heads = 5; }),
            "student.channels = 24 is not a multiple of student.heads = 5; the nearest valid: 20 or 25");
  EXPECT_EQ(message([](FieldOptions& o) { o.section = "student.nf"; }), "accepted");
  EXPECT_EQ(message([](FieldOptions& o) { o.image_size = 0; }), "accepted");
  EXPECT_NE(message([](FieldOptions& o) { o.channels = 18; }).find("student.channels = 18"), std::string::npos);
  EXPECT_NE(message([](FieldOptions& o) { o.patch = 4; }).find("student.patch = 4"), std::string::npos);
  EXPECT_NE(message([](FieldOptions& o) { o.depth = 0; }).find("student.depth = 0"), std::string::npos);
}

/// With an image of 3 channels as condition.
SiTOptions conditional() {
  SiTOptions options = small;
  options.condition_channels = 3;
  return options;
}

TEST(SiT, AnImageAsConditionFollowsXAlongTheChannels) {
  const Inputs in;
  auto given = trained(conditional()), without = trained(small);
  const at::NoGradGuard no_grad;
  const NamedTensors tensors = named_tensors(*without);
  for (auto& [name, tensor] : named_tensors(*given)) {
    if (name != "x_embedder.proj.weight") {
      tensor.copy_(tensors.at(name));
      continue;
    }
    ASSERT_EQ(tensor.size(1), 5);
    tensor.narrow(1, 0, 2).copy_(tensors.at(name));
    tensor.narrow(1, 2, 3).zero_();
  }
  const Condition y{in.y.labels, at::randn({4, 3, 6, 6})};
  // Without weights of its own, the image changes nothing; with some, it does.
  EXPECT_TRUE(at::allclose(given(in.x, in.t, y), without(in.x, in.t, in.y), 1e-5, 1e-5));
  named_tensors(*given).at("x_embedder.proj.weight").narrow(1, 2, 3).normal_(0, 0.15);
  EXPECT_GT((given(in.x, in.t, y) - without(in.x, in.t, in.y)).abs().max().item<double>(), 1e-3);
  EXPECT_TRUE(at::allclose(guided_output(*given, in.x, in.t, y, 1), given(in.x, in.t, y)));
  EXPECT_EQ(parameter_count(conditional()), parameter_count(*given));
  EXPECT_EQ(given->sizes().at("condition_channels"), "3");
  EXPECT_FALSE(without->sizes().contains("condition_channels"));
}

TEST(SiT, RefusesAConditionThatItDoesNotTake) {
  const Inputs in;
  auto given = trained(conditional()), without = trained(small);
  const auto message = [&](SiT& model, const at::Tensor& image) -> std::string {
    try {
      model(in.x, in.t, Condition{in.y.labels, image});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(given, {}), "the network sees a condition of 3 channels beside each image, and is given none");
  EXPECT_NE(message(given, at::zeros({4, 3, 3, 3})).find("and is given [4, 3, 3, 3]"), std::string::npos);
  EXPECT_EQ(message(without, at::zeros({4, 3, 6, 6})),
            "the network sees no condition beside images, and is given one [4, 3, 6, 6]");
}

}  // namespace
}  // namespace couplet::testing
