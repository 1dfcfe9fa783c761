#include "pipeline/tensor/flops.h"

#include "method/models/autoencoder.h"
#include "method/models/classifier.h"
#include "method/models/fields/sit.h"
#include "method/models/fields/unet.h"
#include "method/models/noise_classifier.h"
#include "method/models/tarflow.h"

#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

// What the models say of their cost, against the products that LibTorch really computes and against figures worked out
// by hand.

namespace couplet {
namespace {

double counted = 0;
std::string unknown;

double numbers(const at::IValue& value) {
  return static_cast<double>(value.toTensor().numel());
}

/// A matrix product's inputs, as LibTorch hands them to its kernels: 2 · rows · inner · columns.
std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& call) {
  const std::string name = call.name();
  const auto inputs = call.inputs();
  const auto product = [&](std::size_t left, std::size_t right) {
    const at::Tensor a = inputs[left].toTensor();
    counted += 2 * static_cast<double>(a.numel()) * static_cast<double>(inputs[right].toTensor().size(-1));
  };
  if (name == "aten::mm" || name == "aten::bmm") product(0, 1);
  if (name == "aten::addmm" || name == "aten::baddbmm") product(1, 2);
  if (name == "aten::convolution") {  // same padding: every pixel of the output sees the whole kernel
    const at::Tensor x = inputs[0].toTensor();
    const std::int64_t stride = inputs[3].toIntVector().front();
    counted += 2 * numbers(inputs[1]) * static_cast<double>(x.size(0) * (x.size(2) / stride) * (x.size(3) / stride));
  }
  if (name == "mkldnn::_linear_pointwise") unknown = name;
  return nullptr;
}

template <class Work>
double flops_of(const Work& work) {
  counted = 0;
  unknown.clear();
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(count).needsInputs(true));
  work();
  at::removeCallback(handle);
  EXPECT_EQ(unknown, "");
  return counted;
}

constexpr std::int64_t rows = 2;

/// `forward` is called in double precision, where all products are LibTorch's own. Forward is exact; of the backward
/// pass, the gradients of the model's inputs are not computed.
template <class Forward>
void expect_flops(double said, const Forward& forward) {
  at::Tensor output;
  const double forward_flops = flops_of([&] { output = forward(); });
  EXPECT_EQ(forward_flops, rows * said);
  const double backward = flops_of([&] { output.square().sum().backward(); });
  const double training = forward_passes_a_training_image * forward_flops;
  EXPECT_LE(forward_flops + backward, training);
  EXPECT_GT(forward_flops + backward, 0.9 * training);
}

TEST(Flops, OfTarFlow) {
  for (const bool nvp : {true, false}) {
    const TarFlowOptions options{
        .in_channels = 3, .image_size = 16, .channels = 64, .blocks = 3, .num_classes = 5, .nvp = nvp};
    TarFlow model = make_tarflow(options, 1);
    model->to(torch::kFloat64);
    const at::Tensor x = torch::randn({rows, 3, 16, 16}, torch::kFloat64), y = torch::tensor({1, -1});
    expect_flops(forward_flops(options), [&] { return model->forward(x, y).z; });
  }
}

TEST(Flops, OfSiT) {
  for (const bool learn_sigma : {true, false}) {
    const SiTOptions options{
        .in_channels = 3, .image_size = 16, .channels = 48, .depth = 3, .learn_sigma = learn_sigma};
    SiT model = make_sit(options, 1);
    model->to(torch::kFloat64);
    const at::Tensor x = torch::randn({rows, 3, 16, 16}, torch::kFloat64), t = torch::rand({rows}, torch::kFloat64);
    expect_flops(forward_flops(options), [&] { return model->forward(x, t, {torch::tensor({1, 2}), {}}); });
  }
}

TEST(Flops, OfTheUNet) {
  for (const bool flag : {true, false}) {
    UNetOptions options{.in_channels = 3, .condition_channels = flag ? 3 : 0, .out_channels = 3, .image_size = 16};
    options.attention = {1, 4};
    options.heads = 2;
    options.scale_shift = options.residual_resampling = flag;
    UNet model = make_unet(options, 1);
    model->to(torch::kFloat64);
    const at::Tensor x = torch::randn({rows, 3, 16, 16}, torch::kFloat64), t = torch::rand({rows}, torch::kFloat64);
    const double found = flops_of([&] { model->forward(x, t, {torch::tensor({1, 2}), flag ? x : at::Tensor()}); });
    EXPECT_EQ(found, rows * forward_flops(options)) << flag;
  }
}

TEST(Flops, OfTheClassifier) {
  const ClassifierOptions options{.in_channels = 3, .image_size = 32, .channels = 8, .dimension = 16};
  Classifier model = make_classifier(options, 1);
  model->to(torch::kFloat64);
  const at::Tensor x = torch::randn({rows, 3, 32, 32}, torch::kFloat64);
  double said = 0;
  const double found = flops_of([&] { model->forward(x); });
  said = forward_flops(options);
  EXPECT_EQ(found, rows * said);
}

TEST(Flops, OfTheNoiseClassifier) {
  const NoiseClassifierOptions options{.in_channels = 2, .size = 20, .channels = 8, .num_classes = 3};
  NoiseClassifier model = make_noise_classifier(options, 1);
  model->to(torch::kFloat64);
  const at::Tensor z = torch::randn({rows, 2, 20, 20}, torch::kFloat64), labels = torch::tensor({0, 2});
  EXPECT_EQ(flops_of([&] { model->forward(z, labels); }), rows * forward_flops(options));
}

TEST(Flops, OfTheAutoencoder) {
  for (const bool plain : {true, false}) {
    const AutoencoderOptions options{.image_size = 16, .channels = 8, .factor = 8, .plain = plain};
    Autoencoder model = make_autoencoder(options, 1);
    model->to(torch::kFloat64);
    const at::Tensor x = torch::randn({rows, 3, 16, 16}, torch::kFloat64);
    const double found = flops_of([&] {
      const LatentMoments latents = model->encode(x);
      model->decode(plain ? latents.mean : latents.mean + latents.deviation());
    });
    EXPECT_EQ(found, rows * forward_flops(options)) << plain;
  }
}

// Multiply-adds by hand. TarFlow of the default sizes: 48 tokens of 49 enter; each block 48·16·128 in, two layers of
// 48·128·12·128 and 2·48²·128, 48·128·32 out. SiT-XL/2 on 32x32x4 latents: 256 tokens, 28 blocks of width 1152; 118.6
// G multiply-adds stand in DiT's Table 4 (118.64 GFLOPs for XL/2, which counts a multiply-add once).
TEST(Flops, AreTheFiguresWorkedOutByHand) {
  EXPECT_EQ(forward_flops(TarFlowOptions{}),
            2.0 * 4 * (48 * 16 * 128 + 2 * (48 * 128 * 12 * 128 + 2 * 48 * 48 * 128) + 48 * 128 * 32));
  const SiTOptions xl2{.in_channels = 4,
                       .image_size = 32,
                       .patch = 2,
                       .channels = 1152,
                       .depth = 28,
                       .heads = 16,
                       .num_classes = 1000,
                       .learn_sigma = true};
  EXPECT_NEAR(forward_flops(xl2) / 2, 118.64e9, 0.05e9);
}

TEST(Flops, ParametersAreCountedWithoutAModel) {
  const TarFlowOptions teacher{.in_channels = 3, .image_size = 16, .channels = 64, .blocks = 3, .num_classes = 5};
  EXPECT_EQ(parameter_count(teacher), parameter_count(*make_tarflow(teacher, 1)));
  const SiTOptions student{.in_channels = 3, .image_size = 16, .channels = 48, .depth = 3, .learn_sigma = true};
  EXPECT_EQ(parameter_count(student), parameter_count(*make_sit(student, 1)));
  const ClassifierOptions network{.in_channels = 3, .image_size = 32, .channels = 8, .dimension = 16};
  EXPECT_EQ(parameter_count(network), parameter_count(*make_classifier(network, 1)));
}

TEST(Flops, AreWrittenWithAUnit) {
  EXPECT_EQ(flops_text(0), "0 FLOP");
  EXPECT_EQ(flops_text(999), "999 FLOP");
  EXPECT_EQ(flops_text(1234), "1.23 kFLOP");
  EXPECT_EQ(flops_text(56.4e9), "56 GFLOP");
  EXPECT_EQ(flops_text(999.9e9), "1.00 TFLOP");
  EXPECT_EQ(flops_text(1.3e18), "1.30 EFLOP");
}

}  // namespace
}  // namespace couplet
