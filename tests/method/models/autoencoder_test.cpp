#include "method/models/autoencoder.h"

#include "method/models/codec_program.h"
#include "pipeline/tensor/weights.h"
#include "tests/method/reference.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/optim/adamw.h>

#include <cmath>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

/// Two levels, whose channels differ.
AutoencoderOptions small(bool plain = false) {
  return {.in_channels = 3, .image_size = 16, .channels = 8, .latent_channels = 2, .factor = 2, .plain = plain};
}

/// Zero and one, as norms begin, would hide which is which.
Autoencoder filled(const AutoencoderOptions& options) {
  Autoencoder model = make_autoencoder(options, 1);
  const at::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) parameter.add_(at::randn_like(parameter) * 0.2);
  return model;
}

at::Tensor some_images(std::int64_t rows, const AutoencoderOptions& o) {
  return at::rand({rows, o.in_channels, o.image_size, o.image_size}) * 2 - 1;
}

TEST(Autoencoder, ShapesAndParametersFollowFromItsOptions) {
  for (const std::int64_t factor : {2, 4, 8, 16})
    for (const bool plain : {false, true}) {
      AutoencoderOptions options = small(plain);
      options.image_size = 32;
      options.factor = factor;
      Autoencoder model = make_autoencoder(options, 1);
      EXPECT_EQ(parameter_count(options), parameter_count(*model)) << factor;
      const at::Tensor x = some_images(2, options);
      const LatentMoments latents = model->encode(x);
      EXPECT_EQ(latents.mean.sizes(), at::IntArrayRef({2, 2, 32 / factor, 32 / factor}));
      EXPECT_EQ(latents.deviation().sizes(), latents.mean.sizes());
      EXPECT_EQ(latents.log_variance.defined(), !plain);
      EXPECT_EQ(model->decode(latents.mean).sizes(), x.sizes());
    }
}

// 3x3 kernels and biases, two numbers a channel and norm. Encoder: 3 → 8; a block of 8; 8 → 16; a block of 16; 16 → 4.
// Decoder: 2 → 16; a block of 16; 16 → 8; a block of 8; 8 → 3.
TEST(Autoencoder, ItsParametersCountedByHand) {
  const std::int64_t encoder = 28 * 8 + 2 * (73 * 8 + 16) + 73 * 16 + 2 * (145 * 16 + 32) + 145 * 4 + 32;
  const std::int64_t decoder = 19 * 16 + 2 * (145 * 16 + 32) + 145 * 8 + 2 * (73 * 8 + 16) + 73 * 3 + 16;
  EXPECT_EQ(parameter_count(small()), encoder + decoder);
}

TEST(Autoencoder, TheDefaultIsSmall) {
  const std::int64_t parameters = parameter_count(AutoencoderOptions{});
  EXPECT_GT(parameters, 200000);
  EXPECT_LT(parameters, 400000);
}

TEST(Autoencoder, RefusesSizesThatDoNotFit) {
  const auto refused = [](void (*change)(AutoencoderOptions&), const std::vector<std::string>& parts) {
    AutoencoderOptions options = small();
    change(options);
    expect_error([&] { check(options); }, parts);
  };
  refused([](auto& o) { o.channels = 18; }, {"autoencoder.channels = 18", "16 or 20"});
  refused([](auto& o) { o.latent_channels = 0; }, {"autoencoder.latent-channels = 0"});
  refused([](auto& o) { o.factor = 3; }, {"autoencoder.factor = 3", "2, 4, 8"});
  refused([](auto& o) { o.factor = 1; }, {"autoencoder.factor = 1"});
  refused([](auto& o) { o.image_size = 30, o.factor = 4; }, {"autoencoder.factor = 4", "30x30"});
  refused([](auto& o) { o.image_size = 1; }, {"images of 1x1"});
}

TEST(Autoencoder, ARowDependsOnThatRowAlone) {
  const AutoencoderOptions options = small();
  const Autoencoder model = filled(options);
  const at::Tensor x = some_images(5, options);
  const LatentMoments all = model->encode(x), one = model->encode(x.narrow(0, 3, 1));
  EXPECT_LE(difference(all.mean.narrow(0, 3, 1), one.mean), 1e-5);
  EXPECT_LE(difference(all.log_variance.narrow(0, 3, 1), one.log_variance), 1e-5);
  EXPECT_LE(difference(model->decode(all.mean).narrow(0, 3, 1), model->decode(one.mean)), 1e-5);
}

// The loss written out, row by row, in double.
TEST(Autoencoder, ItsLossIsSquaredErrorAndDivergence) {
  const AutoencoderOptions options = small();
  const Autoencoder model = filled(options);
  const at::Tensor x = some_images(3, options), noise = at::randn({3, 2, 8, 8});
  const double kl = 0.7, pixels = 3 * 16 * 16;
  double expected = 0;
  const LatentMoments latents = model->encode(x);
  for (std::int64_t row = 0; row < 3; ++row) {
    const at::Tensor mean = latents.mean[row].to(at::kDouble),
                     variance = latents.log_variance[row].to(at::kDouble).exp();
    const at::Tensor z = (mean + variance.sqrt() * noise[row].to(at::kDouble)).to(at::kFloat).unsqueeze(0);
    const double error = (model->decode(z)[0] - x[row]).to(at::kDouble).square().sum().item<double>();
    const double divergence = 0.5 * (variance + mean * mean - 1 - variance.log()).sum().item<double>();
    expected += (error + kl * divergence) / pixels / 3;
  }
  EXPECT_NEAR(model->loss(x, noise, kl).item<double>(), expected, 1e-4 * std::abs(expected));

  const Autoencoder plain = filled(small(true));
  const at::Tensor back = plain->decode(plain->encode(x).mean);
  EXPECT_NEAR(plain->loss(x, {}, 0).item<double>(), (back - x).square().mean().item<double>(), 1e-5);
}

TEST(Autoencoder, LogVariancesAreBounded) {
  const AutoencoderOptions options = small();
  Autoencoder model = make_autoencoder(options, 1);
  const at::Tensor x = some_images(1, options);
  const at::Tensor bias = model->named_parameters()["encoder_output.bias"];
  const at::NoGradGuard no_grad;
  bias.fill_(1000);
  EXPECT_EQ(model->encode(x).log_variance.max().item<double>(), 20);
  bias.fill_(-1000);
  EXPECT_EQ(model->encode(x).log_variance.min().item<double>(), -30);
}

TEST(Autoencoder, GradientsReachEveryParameter) {
  for (const bool plain : {false, true}) {
    const AutoencoderOptions options = small(plain);
    Autoencoder model = filled(options);
    model->loss(some_images(2, options), at::randn({2, 2, 8, 8}), 1e-3).backward();
    for (const auto& parameter : model->named_parameters()) {
      ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
      EXPECT_GT(parameter.value().grad().abs().max().item<double>(), 0) << parameter.key();
    }
  }
}

TEST(Autoencoder, LearnsToGiveImagesBack) {
  torch::manual_seed(3);
  const AutoencoderOptions options = small();
  Autoencoder model = make_autoencoder(options, 1);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(5e-3));
  const at::Tensor patterns = at::upsample_nearest2d(at::rand({8, 3, 4, 4}) * 2 - 1, {16, 16});
  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    const at::Tensor loss = model->loss(patterns, at::randn({8, 2, 8, 8}), 1e-6);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item<double>();
  }
  EXPECT_LT(last, 0.2 * first);
}

TEST(Autoencoder, SeedDecidesTheWeights) {
  const auto hash = [](std::uint64_t seed) { return tensors_hash(named_tensors(*make_autoencoder(small(), seed))); };
  EXPECT_EQ(hash(3), hash(3));
  EXPECT_NE(hash(3), hash(4));
}

at::Tensor call(torch::jit::Module& program, const char* method, const at::Tensor& input) {
  const at::NoGradGuard no_grad;
  return program.get_method(method)({input}).toTensor();
}

TEST(CodecProgram, ComputesWhatTheModelDoes) {
  const Folder folder;
  const at::NoGradGuard no_grad;
  for (const bool plain : {false, true}) {
    AutoencoderOptions options = small(plain);
    options.factor = 4;
    const Autoencoder model = filled(options);
    publish_codec(*model, folder / "codec.pt");
    torch::jit::Module program = torch::jit::load((folder / "codec.pt").string());
    program.eval();
    for (const std::int64_t rows : {1, 3}) {
      const at::Tensor x = some_images(rows, options), z = at::randn({rows, 2, 4, 4});
      const LatentMoments latents = model->encode(x);
      EXPECT_LE(difference(call(program, "encode", x), at::cat({latents.mean, latents.deviation()}, 1)), 1e-5);
      EXPECT_LE(difference(call(program, "decode", z), model->decode(z)), 1e-5);
    }
    // The optimiser of programs has seen them by now.
    const at::Tensor x = some_images(3, options);
    EXPECT_LE(difference(call(program, "encode", x).narrow(1, 0, 2), model->encode(x).mean), 1e-5);
    for (const at::Tensor& parameter : program.parameters()) EXPECT_FALSE(parameter.requires_grad());
  }
}

TEST(CodecProgram, EqualModelsGiveEqualBytes) {
  const Folder folder;
  const auto bytes = [&](const std::string& name, std::uint64_t seed) {
    publish_codec(*make_autoencoder(small(), seed), folder / name);
    return read_bytes(folder / name);
  };
  const std::string first = bytes("one.pt", 1);
  EXPECT_TRUE(first == bytes("another-name.pt", 1));
  EXPECT_FALSE(first == bytes("one.pt", 2));
}

}  // namespace
}  // namespace couplet::testing
