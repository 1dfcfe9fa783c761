#include "method/data/latents.h"

#include "method/data/codec.h"
#include "method/data/images.h"
#include "method/data/latent_script.h"
#include "method/data/noise.h"
#include "storage/files/hash.h"
#include "tests/storage/storage_testing.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

/// Means of blocks of 2 x 2 pixels, each channel for itself, with deviations from 0.01 on; back, each value fills its
/// block.
constexpr const char* blocks = R"(
def encode(self, x):
    mean = torch.avg_pool2d(x, [2, 2], [2, 2])
    return torch.cat([mean, 0.01 + 0.1 * torch.abs(mean)], 1)

def decode(self, z):
    return torch.upsample_nearest2d(z, [2 * z.size(2), 2 * z.size(3)])
)";

void write_script(const fs::path& path, const std::string& text) {
  torch::jit::Module program("Codec");
  program.register_attribute("training", c10::BoolType::get(), false);
  program.define(text);
  program.save(path.string());
}

LatentForm form_of(const fs::path& script) {
  return {.script_hash = hash_file(script),
          .pixel_range = signed_pixels,
          .scale = {2},
          .shift = {0.25},
          .is_drawn = true,
          .seed = 3,
          .pixel_shape = {3, 8, 8}};
}

/// The codec of a table in FOLDER/train, whose program lies in FOLDER.
std::shared_ptr<const Codec> open(const Folder& folder, const LatentForm& form) {
  return codec_of({{"codec", "latent"}, {"latent", to_json(form)}}, folder / "train");
}

/// Rows of means and deviations, float16 [n, 2 · 3, 4, 4].
at::Tensor stored_rows(std::int64_t n) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  return torch::cat({torch::randn({n, 3, 4, 4}), 0.5 + torch::rand({n, 3, 4, 4})}, 1).to(torch::kHalf);
}

TEST(Latents, ADrawIsNormalAboutTheMeanShiftedAndScaled) {
  const Folder folder;
  write_script(folder / latent_script_name, blocks);
  const auto codec = open(folder, form_of(folder / latent_script_name));
  const at::Tensor stored = stored_rows(2000), seen = codec->encode(stored);
  EXPECT_EQ(codec->seen_shape({6, 4, 4}), (std::vector<std::int64_t>{3, 4, 4}));
  ASSERT_EQ(seen.sizes(), (at::IntArrayRef{2000, 3, 4, 4}));
  ASSERT_EQ(seen.scalar_type(), torch::kFloat32);
  EXPECT_TRUE(seen.equal(seen.to(torch::kHalf).to(torch::kFloat32))) << "as coupling tables store it";
  const at::Tensor numbers = stored.to(torch::kFloat64);
  const at::Tensor mean = numbers.narrow(1, 0, 3), deviation = numbers.narrow(1, 3, 3);
  const at::Tensor epsilon = (seen.to(torch::kFloat64) / 2 + 0.25 - mean) / deviation;
  const double n = static_cast<double>(epsilon.numel());
  EXPECT_NEAR(epsilon.mean().item<double>(), 0, 4 / std::sqrt(n));
  EXPECT_NEAR(epsilon.square().mean().item<double>(), 1, 4 * std::sqrt(2 / n));
  EXPECT_NEAR(epsilon.pow(4).mean().item<double>(), 3, 4 * std::sqrt(96 / n));
}

TEST(Latents, ADrawIsTheRowsOwnWhereverItIsRead) {
  const Folder folder;
  write_script(folder / latent_script_name, blocks);
  LatentForm form = form_of(folder / latent_script_name);
  const auto codec = open(folder, form);
  const at::Tensor stored = stored_rows(8), seen = codec->encode(stored);
  for (int row = 0; row < 8; ++row) {
    EXPECT_TRUE(codec->encode(stored[row]).equal(seen[row])) << row;
    EXPECT_TRUE(codec->drawn(stored[row], 0).equal(seen[row])) << row;
    EXPECT_FALSE(codec->drawn(stored[row], 1).equal(seen[row])) << row;
  }
  EXPECT_TRUE(codec->encode(stored.flip({0})).equal(seen.flip({0})));
  form.seed = 4;
  EXPECT_FALSE(open(folder, form)->encode(stored).equal(seen));
}

TEST(Latents, TrainingSeesAnotherDrawAtEveryVisitAndAllElseTheFirst) {
  const Folder folder;
  write_script(folder / latent_script_name, blocks);
  const auto codec = open(folder, form_of(folder / latent_script_name));
  const at::Tensor stored = stored_rows(2);
  const auto without_noise = [&](Purpose purpose, const std::vector<std::int64_t>& indices) {
    return noised_rows(stored, *codec, {false, 0}, 7, purpose, indices);
  };
  EXPECT_TRUE(without_noise(Purpose::coupling_noise, {5, 6}).equal(codec->encode(stored)));
  EXPECT_TRUE(without_noise(Purpose::validation_noise, {5, 6}).equal(codec->encode(stored)));
  const at::Tensor visit = without_noise(Purpose::teacher_noise, {5, 6});
  EXPECT_FALSE(visit.equal(codec->encode(stored)));
  EXPECT_FALSE(visit.equal(without_noise(Purpose::teacher_noise, {7, 8})));
  EXPECT_TRUE(visit.equal(without_noise(Purpose::teacher_noise, {5, 6})));
}

TEST(Latents, MeansAndNumbersAChannel) {
  const Folder folder;
  write_script(folder / latent_script_name, blocks);
  LatentForm form = form_of(folder / latent_script_name);
  form.is_drawn = false;
  form.scale = {2, 3, 0.5};
  form.shift = {1, 0, -1};
  const auto codec = open(folder, form);
  const at::Tensor stored = stored_rows(3), seen = codec->encode(stored);
  for (int channel = 0; channel < 3; ++channel) {
    const auto c = static_cast<std::size_t>(channel);
    const at::Tensor expected = (stored.select(1, channel).to(torch::kFloat32) - form.shift[c]) * form.scale[c];
    EXPECT_TRUE(torch::allclose(seen.select(1, channel), expected, 1e-3, 1e-3)) << channel;
  }
  // Back: what models make is scaled and shifted back before it is decoded.
  const at::Tensor pixels = codec->decode(seen);
  ASSERT_EQ(pixels.sizes(), (at::IntArrayRef{3, 3, 8, 8}));
  const at::Tensor difference = pixels.to(torch::kInt32) - codec->pixels(stored).to(torch::kInt32);
  EXPECT_LE(difference.abs().max().item<int>(), 1);
}

TEST(Latents, AProgramTakesAndGivesPixelsOfItsRange) {
  const Folder folder;
  write_script(folder / "signed.pt", blocks);
  const at::Tensor pixels = torch::arange(3 * 64).to(torch::kUInt8).view({1, 3, 8, 8});
  const at::Tensor means = torch::avg_pool2d(pixels.to(torch::kFloat32), 2);
  const LatentScript of_signed(folder / "signed.pt", signed_pixels, torch::kCPU);
  const LatentScript of_unit(folder / "signed.pt", unit_pixels, torch::kCPU);
  EXPECT_EQ(of_signed.latent_shape({3, 8, 8}), (std::vector<std::int64_t>{3, 4, 4}));
  EXPECT_TRUE(torch::allclose(of_signed.encode(pixels).narrow(1, 0, 3), means / 127.5 - 1, 1e-5, 1e-5));
  EXPECT_TRUE(torch::allclose(of_unit.encode(pixels).narrow(1, 0, 3), means / 255, 1e-5, 1e-5));
  for (const LatentScript* script : {&of_signed, &of_unit}) {
    const at::Tensor back = script->decode(script->encode(pixels).narrow(1, 0, 3));
    const at::Tensor expected = torch::upsample_nearest2d(means, {8, 8});
    EXPECT_LE((back.to(torch::kFloat32) - expected).abs().max().item<float>(), 0.51f);
  }
  // A row's digits are its own.
  const at::Tensor many = pixels.repeat({40, 1, 1, 1});
  EXPECT_TRUE(of_signed.encode(many)[39].equal(of_signed.encode(pixels)[0]));
}

TEST(Latents, ProgramsThatDoNotFitAreRefused) {
  const Folder folder;
  const auto expect = [&](const std::string& text, const std::vector<std::string>& parts) {
    write_script(folder / "program.pt", text);
    expect_error(
        [&] {
          LatentScript(folder / "program.pt", signed_pixels, torch::kCPU).latent_shape({3, 8, 8});
        },
        parts);
  };
  const std::string decode = "\ndef decode(self, z):\n    return torch.upsample_nearest2d(z, [8, 8])\n";
  expect("def encode(self, x):\n    return x\n", {"no method decode"});
  expect("def encode(self, x):\n    return torch.avg_pool2d(x, [2, 2])" + decode,
         {"encode returns [1, 3, 4, 4]", "twice the channels"});
  expect("def encode(self, x):\n    return torch.cat([x, x], 1)" + decode, {"values below 0", "standard deviations"});
  expect("def encode(self, x):\n    return torch.cat([x / 0.0, torch.zeros_like(x)], 1)" + decode, {"NaN or infinite"});
  expect("def encode(self, x):\n    return torch.conv2d(x, torch.zeros([4, 5, 3, 3]))" + decode,
         {"its method encode fails on [1, 3, 8, 8]"});
  expect(
      "def encode(self, x):\n    x = torch.avg_pool2d(x, [2, 2])\n    return torch.cat([x, torch.zeros_like(x)], 1)\n"
      "def decode(self, z):\n    return z\n",
      {"decode returns [1, 3, 4, 4]", "[3, 8, 8]"});
  expect(
      "def encode(self, x):\n    x = torch.avg_pool2d(x, [2, 4])\n    return torch.cat([x, torch.zeros_like(x)], 1)" +
          decode,
      {"square"});
  write_bytes(folder / "text.pt", "no program");
  expect_error([&] { LatentScript(folder / "text.pt", signed_pixels, torch::kCPU); },
               {"text.pt", "no TorchScript program"});
}

TEST(Latents, WhatLatentsFromElsewhereBecomeIsTried) {
  const Folder folder;
  const auto program = [&](const std::string& text) {
    write_script(folder / "program.pt", text);
    return LatentScript(folder / "program.pt", unit_pixels, torch::kCPU);
  };
  EXPECT_EQ(program(blocks).pixel_shape({3, 5, 5}), (std::vector<std::int64_t>{3, 10, 10}));
  const std::string encode = "def encode(self, x):\n    return x\n";
  expect_error([&] { program(blocks).pixel_shape({4, 5, 5}); }, {"decode returns [1, 4, 10, 10]", "1 or 3 channels"});
  expect_error(
      [&] {
        program(encode + "def decode(self, z):\n    return torch.conv2d(z, torch.zeros([3, 4, 1, 1]))\n")
            .pixel_shape({6, 5, 5});
      },
      {"its method decode fails on [1, 6, 5, 5]"});
}

TEST(Latents, RowsThatNoDataSetCanHoldAreFound) {
  const at::Tensor rows = stored_rows(5);
  EXPECT_FALSE(unfit_latent(rows));
  rows[3][4][0][1] = -0.25;
  ASSERT_TRUE(unfit_latent(rows));
  EXPECT_EQ(unfit_latent(rows)->row, 3);
  EXPECT_NE(unfit_latent(rows)->what.find("deviation -0.25"), std::string::npos);
  rows[2][0][0][0] = 1e9;
  EXPECT_EQ(unfit_latent(rows)->row, 2);
  EXPECT_NE(unfit_latent(rows)->what.find("float16"), std::string::npos);
  rows[1][0][0][0] = std::nan("");
  EXPECT_EQ(unfit_latent(rows)->row, 1);
}

TEST(Latents, AnotherProgramOrNoneIsRefusedWherePixelsAreAskedFor) {
  const Folder folder;
  write_script(folder / latent_script_name, blocks);
  LatentForm form = form_of(folder / latent_script_name);
  const at::Tensor stored = stored_rows(1);
  form.script_hash = "0123";
  expect_error([&] { open(folder, form)->pixels(stored); }, {"another codec", "0123"});
  EXPECT_EQ(open(folder, form)->encode(stored).size(1), 3) << "models need no program";
  fs::remove(folder / latent_script_name);
  expect_error([&] { open(folder, form)->pixels(stored); }, {"codec.pt", "is not there"});
}

TEST(Latents, TheFormIsWhatItIsStoredAs) {
  LatentForm form{"hash", unit_pixels, {1, 2}, {3}, false, 9, {3, 16, 16}};
  const LatentForm read = latent_form(nlohmann::json::parse(to_json(form).dump()));
  EXPECT_EQ(to_json(read), to_json(form));
  EXPECT_EQ(read.pixel_range, unit_pixels);
  EXPECT_EQ(read.seed, 9U);
}

}  // namespace
}  // namespace couplet::testing
