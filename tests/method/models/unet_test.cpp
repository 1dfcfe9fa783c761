#include "method/models/fields/unet.h"

#include "pipeline/tensor/autocast.h"
#include "tests/method/reference.h"
#include "tests/pipeline/training/memory_peak.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

namespace couplet::testing {
namespace {

FieldOptions small_net() {
  FieldOptions options{.image_channels = 2, .image_size = 8, .num_classes = 4};
  options.channels = 32;
  options.multipliers = {1, 2};
  options.blocks = 1;
  options.attention = {2};
  options.heads = 2;
  return options;
}

/// A network in which every weight matters: some are zero at first.
UNet trained(const UNetOptions& options) {
  auto net = make_unet(options, 5);
  const at::NoGradGuard no_grad;
  for (auto& parameter : net->parameters()) parameter.add_(at::randn_like(parameter), 0.1);
  return net;
}

struct Rows {
  at::Tensor x = at::randn({3, 2, 8, 8}), t = at::rand({3}), labels = at::tensor({0, 3, 1}, at::kLong);
};

std::string refusal_of(const FieldOptions& options) {
  try {
    find_field("unet").check(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    return error.what();
  }
  return "accepted";
}

#define EXPECT_PART(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(UNetField, RefusesSizesThatDoNotFit) {
  const auto with = [](const std::function<void(FieldOptions&)>& change) {
    FieldOptions options = small_net();
    change(options);
    return refusal_of(options);
  };
  EXPECT_EQ(with([](FieldOptions&) {}), "accepted");
  EXPECT_EQ(with([](FieldOptions& o) { o.image_size = 0; }), "accepted") << "not known yet";
  EXPECT_EQ(with([](FieldOptions& o) {
              o.image_size = 28, o.multipliers = {1, 1, 1, 1};
            }),
            "student.multipliers = 1 1 1 1: images of 28 x 28 cannot be halved 3 times, as 4 levels do; pad them to 32 "
            "or use 3 levels");
  EXPECT_EQ(with([](FieldOptions& o) { o.image_size = 28, o.multipliers = {1, 2, 2}; }), "accepted");
  EXPECT_PART(with([](FieldOptions& o) { o.image_size = 7; }), "pad them to 8 or use 1 level");
  EXPECT_PART(with([](FieldOptions& o) { o.channels = 48; }),
              "student.channels = 48 times 1 of student.multipliers is 48, no multiple of the 32 groups");
  EXPECT_EQ(with([](FieldOptions& o) { o.channels = 8, o.multipliers = {4, 8}; }), "accepted");
  EXPECT_PART(with([](FieldOptions& o) { o.heads = 3; }), "student.heads = 3 does not divide the 32 channels");
  EXPECT_PART(with([](FieldOptions& o) { o.head_channels = 24; }), "student.head-channels = 24 does not divide");
  EXPECT_PART(with([](FieldOptions& o) { o.attention = {16}; }), "no level has the downsampling factor 16");
  EXPECT_PART(with([](FieldOptions& o) { o.attention = {3}; }), "student.attention = 3");
  EXPECT_PART(with([](FieldOptions& o) { o.multipliers = {}; }), "student.multipliers is empty");
  EXPECT_PART(with([](FieldOptions& o) { o.multipliers = {1, 0}; }), "student.multipliers = 1 0");
  EXPECT_PART(with([](FieldOptions& o) { o.blocks = 0; }), "student.blocks = 0");
  EXPECT_PART(with([](FieldOptions& o) { o.section = "student.mine", o.heads = 3; }), "student.mine.heads = 3");
}

TEST(UNetField, StartsAsTheZeroFieldAndIsAFunctionOfTheSeed) {
  const FieldKind& kind = find_field("unet");
  const Rows in;
  const auto field = kind.make(small_net(), 1);
  EXPECT_EQ(field->forward(in.x, in.t, {in.labels, {}}).abs().max().item<double>(), 0);
  EXPECT_EQ(tensors_hash(named_tensors(*field)), tensors_hash(named_tensors(*kind.make(small_net(), 1))));
  EXPECT_NE(tensors_hash(named_tensors(*field)), tensors_hash(named_tensors(*kind.make(small_net(), 2))));
}

TEST(UNetField, SaysItsSizeWithoutBeingMade) {
  const FieldKind& kind = find_field("unet");
  for (const bool flag : {false, true}) {
    FieldOptions options = small_net();
    options.scale_shift = options.residual_resampling = flag;
    options.condition_channels = flag ? 2 : 0;
    const auto field = kind.make(options, 1);
    EXPECT_EQ(kind.parameter_count(options), parameter_count(*field));
    EXPECT_EQ(kind.forward_flops(options), field->forward_flops());
    EXPECT_EQ(field->sizes().at("channel_mult"), "1 2");
  }
}

// method-next.md counts 35.75 M for LOOM-CFM's network and 171 M for the FM paper's with both flags on.
TEST(UNetField, ParametersOfPublishedNetworks) {
  UNetOptions loom{.in_channels = 3, .out_channels = 3, .image_size = 32, .num_classes = 0, .channels = 128};
  loom.multipliers = {1, 2, 2, 2};
  loom.head_channels = 64;
  loom.scale_shift = loom.residual_resampling = false;
  EXPECT_NEAR(static_cast<double>(parameter_count(loom)) / 1e6, 35.75, 0.01);
  UNetOptions paper = loom;
  paper.channels = 256;
  paper.scale_shift = paper.residual_resampling = true;
  EXPECT_NEAR(static_cast<double>(parameter_count(paper)) / 1e6, 171, 0.5);
}

TEST(UNetField, ALabelBelowZeroAndTheRowBehindTheClassesAreNoLabel) {
  UNet net = trained(unet_options(small_net()));
  const Rows in;
  const auto at_label = [&](std::int64_t label) {
    return net->forward(in.x, in.t, {at::full_like(in.labels, label), {}});
  };
  EXPECT_EQ(net->no_label(), 4);
  EXPECT_TRUE(at_label(4).equal(at_label(-1)));
  EXPECT_GT(difference(at_label(4), at_label(3)), 1e-3);
  EXPECT_GT(difference(at_label(0), at_label(1)), 1e-3);
  // Guided at 2: twice the labelled output less the other.
  const at::Tensor guided = guided_output(*net, in.x, in.t, {in.labels, {}}, 2);
  const at::Tensor labelled = net->forward(in.x, in.t, {in.labels, {}});
  EXPECT_LE(difference(guided, 2 * labelled - at_label(4)), 1e-4);
}

TEST(UNetField, SeesTheImageOfItsCondition) {
  FieldOptions options = small_net();
  options.condition_channels = 2;
  UNet net = trained(unet_options(options));
  const Rows in;
  const at::Tensor image = at::randn({3, 2, 8, 8});
  EXPECT_GT(difference(net->forward(in.x, in.t, {in.labels, image}), net->forward(in.x, in.t, {in.labels, -image})),
            1e-3);
  const auto refusal = [&](const at::Tensor& given) -> std::string {
    try {
      net->forward(in.x, in.t, {in.labels, given});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_PART(refusal({}), "2 channels beside each image, and is given none");
  EXPECT_PART(refusal(at::zeros({3, 2, 4, 4})),
              "conditions [3, 2, 8, 8] beside images [3, 2, 8, 8], and is given [3, 2, 4, 4]");
  EXPECT_PART(refusal(at::zeros({3, 1, 8, 8})), "is given [3, 1, 8, 8]");
}

TEST(UNetField, IsAboutTheSameInBfloat16) {
  UNet net = trained(unet_options(small_net()));
  const Rows in;
  const at::NoGradGuard no_grad;
  const at::Tensor exact = net->forward(in.x, in.t, {in.labels, {}});
  const Autocast autocast("bfloat16", at::kCPU);
  const at::Tensor rough = net->forward(in.x, in.t, {in.labels, {}});
  EXPECT_EQ(rough.scalar_type(), at::kFloat);
  EXPECT_GT(difference(rough, exact), 0);
  EXPECT_LE(difference(rough, exact), 0.05 * exact.abs().max().item<double>());
}

TEST(UNetField, DropsByThePositionOfARow) {
  FieldOptions options = small_net();
  options.dropout = 0.5;
  const Rows in;
  const at::Tensor places = at::tensor({70, 71, 72}, at::kLong);
  for (const bool recompute : {false, true}) {
    options.recompute = recompute;
    UNet net = trained(unet_options(options));
    const auto out = [&](const at::Tensor& positions) { return net->forward(in.x, in.t, {in.labels, {}, positions}); };
    const at::Tensor dropped = out(places);
    EXPECT_TRUE(dropped.equal(out(places)));
    EXPECT_GT(difference(dropped, out({})), 1e-3) << "without positions nothing is dropped";
    EXPECT_GT(difference(dropped, out(places + 3)), 1e-3);
    // A row by itself is what it is among others, as on another number of ranks.
    const Condition all{in.labels, {}, places};
    const at::Tensor alone = net->forward(in.x.narrow(0, 1, 1), in.t.narrow(0, 1, 1), all.narrow(1, 1));
    EXPECT_LE(difference(alone, dropped.narrow(0, 1, 1)), 1e-5);
  }
}

TEST(UNetField, DropoutKeepsTheMean) {
  const DropoutDraws draws{0.25, 9, 3};
  const at::Tensor values = at::ones({64, 2, 16, 16});
  const at::Tensor mask = draws.mask(values, at::arange(64, at::kLong));
  EXPECT_NEAR((mask == 0).to(at::kDouble).mean().item<double>(), 0.25, 0.01);
  EXPECT_NEAR(mask.mean().item<double>(), 1, 0.015);
  EXPECT_NEAR(mask.max().item<double>(), 1 / 0.75, 1e-6);
  EXPECT_FALSE(mask.equal(DropoutDraws{0.25, 9, 4}.mask(values, at::arange(64, at::kLong)))) << "each block its own";
}

/// A network of guided-diffusion's, as its files have it: no row for "no label", twice the outputs.
TEST(UNetField, PublishedWeightsComeIn) {
  UNetOptions options = unet_options(small_net());
  UNetOptions published = options;
  published.num_classes = options.num_classes - 1;  // so many rows as there are classes
  published.out_channels = 2 * options.out_channels;
  const NamedTensors theirs = named_tensors(*trained(published));
  UNet net = make_unet(options, 1);
  load_tensors(*net, import_unet(theirs, options), "published");
  const NamedTensors ours = named_tensors(*net);
  EXPECT_TRUE(ours.at("label_emb.weight").narrow(0, 0, 4).equal(theirs.at("label_emb.weight")));
  EXPECT_EQ(ours.at("label_emb.weight")[4].abs().max().item<double>(), 0);
  EXPECT_TRUE(ours.at("out.2.weight").equal(theirs.at("out.2.weight").narrow(0, 0, 2)));
  // Our own files are taken as they are.
  const NamedTensors own = named_tensors(*trained(options));
  EXPECT_EQ(tensors_hash(import_unet(own, options)), tensors_hash(own));
  // Without labels.
  NamedTensors unlabelled = own;
  unlabelled.erase("label_emb.weight");
  EXPECT_EQ(import_unet(unlabelled, options).at("label_emb.weight").abs().max().item<double>(), 0);
}

TEST(UNetField, OtherWeightsAreRefusedByName) {
  const UNetOptions options = unet_options(small_net());
  UNet net = make_unet(options, 1);
  try {
    load_tensors(*net, import_unet({{"conv.weight", at::zeros({2, 3})}}, options), "init.safetensors");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_PART(std::string(error.what()), "init.safetensors");
  }
}

TEST(UNetField, SaysAboutWhatItKeepsForTheBackwardPass) {
  for (const bool recompute : {false, true}) {
    FieldOptions options = small_net();
    options.image_channels = 1;
    options.image_size = 32;
    options.multipliers = {1, 1, 2};
    options.attention = {4};
    options.blocks = 2;
    options.recompute = recompute;
    UNet net = trained(unet_options(options));
    const std::int64_t rows = 4;
    const at::Tensor x = at::randn({rows, 1, 32, 32}), t = at::rand({rows}), y = at::zeros({rows}, at::kLong);
    const MemoryPeak peak;
    net->forward(x, t, {y, {}}).square().mean().backward();
    const double said = static_cast<double>(4 * rows * net->activation_values());
    const double gradients = 4.0 * static_cast<double>(parameter_count(*net));
    const double found = static_cast<double>(peak.bytes()) - gradients;
    EXPECT_GT(said, 0.6 * found) << "recompute: " << recompute;
    EXPECT_LT(said, 1.4 * found) << "recompute: " << recompute;
  }
}

}  // namespace
}  // namespace couplet::testing
