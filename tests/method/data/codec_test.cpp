#include "method/data/codec.h"

#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "tests/storage/storage_testing.h"

#include <torch/types.h>

#include <limits>
#include <set>

namespace couplet::testing {
namespace {

/// Numbers that are stored at half their size, two pixels each.
class Halves : public Codec {
public:
  Halves() : Codec("halves", ElementType::float16) {}
  at::Tensor encode(const at::Tensor& stored) const override { return stored.to(torch::kFloat32) * 2; }
  at::Tensor decode(const at::Tensor& seen) const override {
    return seen.repeat_interleave(2, 3).clamp(0, 255).to(torch::kUInt8);
  }
  std::vector<std::int64_t> pixel_shape(std::vector<std::int64_t> row) const override {
    return {row[0], row[1], 2 * row[2]};
  }
  double levels() const override { return 0; }
};

at::Tensor greys() {
  return torch::arange(256).to(torch::kUInt8).view({1, 1, 16, 16});
}

TEST(Codec, TheRegistrySaysWhatThereIs) {
  std::set<std::string> names;
  for (const CodecKind& kind : codec_kinds()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    EXPECT_FALSE(kind.help.empty()) << kind.name;
    EXPECT_EQ(&find_codec(kind.name), &kind);
    if (!kind.is_of_source) continue;
    EXPECT_EQ(kind.make(nlohmann::json::object(), {})->name(), kind.name);
  }
  EXPECT_TRUE(names.contains("uint8"));
}

TEST(Codec, AProvenanceNamesIt) {
  EXPECT_EQ(codec_of({{"dataset", "an older one"}}, {})->name(), "uint8");
  EXPECT_EQ(codec_of({{"codec", "uint8"}}, {})->name(), "uint8");
  expect_error([] { codec_of({{"codec", "uint9"}}, {}); }, {"unknown codec 'uint9'", "did you mean 'uint8'"});
  EXPECT_EQ(DatasetShape().codec->name(), "uint8");
}

TEST(Codec, PixelsAreSeenFromMinusOneToOne) {
  const auto codec = pixel_codec();
  EXPECT_EQ(codec->stored_type(), ElementType::uint8);
  EXPECT_EQ(codec->pixel_shape({3, 32, 32}), (std::vector<std::int64_t>{3, 32, 32}));
  const at::Tensor stored = greys(), seen = codec->encode(stored);
  ASSERT_EQ(seen.scalar_type(), torch::kFloat32);
  for (int grey = 0; grey < 256; ++grey)
    EXPECT_EQ(seen.flatten()[grey].item<float>(), static_cast<float>(grey) / 127.5f - 1.0f) << grey;
  EXPECT_TRUE(codec->decode(seen).equal(stored));
  EXPECT_TRUE(codec->pixels(stored).equal(stored));
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const at::Tensor odd = torch::tensor({nan, infinity, -infinity, 1.5f, -1.5f, 0.0f}).view({1, 1, 1, 6});
  EXPECT_TRUE(codec->decode(odd).flatten().equal(torch::tensor({0, 255, 0, 255, 0, 128}).to(torch::kUInt8)));
}

TEST(Codec, FloatsAreSeenAsTheyAre) {
  const auto codec = codec_of({{"codec", "float"}}, {});
  EXPECT_EQ(codec->stored_type(), ElementType::float32);
  EXPECT_EQ(codec->levels(), 0);
  const at::Tensor stored = torch::randn({5, 4, 3, 3}) * 3, kept = stored.clone();
  at::Tensor seen = codec->encode(stored);
  EXPECT_TRUE(seen.equal(stored));
  seen.zero_();
  EXPECT_TRUE(stored.equal(kept)) << "what is encoded is the caller's own";
  EXPECT_EQ(codec->pixel_shape({3, 8, 8}), (std::vector<std::int64_t>{3, 8, 8}));
  EXPECT_TRUE(codec->decode(torch::full({2, 1, 2, 2}, 1.0f)).equal(torch::full({2, 1, 2, 2}, 255, torch::kUInt8)));
}

TEST(Codec, ChannelsOfFloatsThatAreNoColoursStandSideBySide) {
  const auto codec = codec_of({{"codec", "float"}}, {});
  EXPECT_EQ(codec->pixel_shape({2, 1, 1}), (std::vector<std::int64_t>{1, 1, 2}));
  const at::Tensor seen = torch::linspace(-1, 1, 2 * 4 * 3 * 3).view({2, 4, 3, 3});
  const at::Tensor pixels = codec->decode(seen);
  ASSERT_EQ(pixels.sizes(), (at::IntArrayRef{2, 1, 3, 12}));
  for (std::int64_t channel = 0; channel < 4; ++channel)
    EXPECT_TRUE(pixels.select(1, 0).narrow(2, 3 * channel, 3).equal(pixel_codec()->decode(seen).select(1, channel)));
}

TEST(Codec, WhatIsEncodedIsTheCallersOwn) {
  const at::Tensor between = torch::full({1, 1, 2, 2}, 127.5f);
  EXPECT_TRUE(pixel_codec()->encode(between).equal(torch::zeros({1, 1, 2, 2})));
  EXPECT_TRUE(between.equal(torch::full({1, 1, 2, 2}, 127.5f)));
}

TEST(Codec, NoiseIsOnWhatModelsSee) {
  const Halves halves;
  const at::Tensor stored = torch::rand({3, 1, 2, 2}).to(torch::kFloat16);
  const at::Tensor x = noised_rows(stored, halves, {false, 0.25}, 7, Purpose::teacher_noise, {4, 5, 6});
  const at::Tensor noise = normal_rows({1, 2, 2}, 7, Purpose::teacher_noise, {4, 5, 6});
  EXPECT_TRUE(x.equal(noise * 0.25 + stored.to(torch::kFloat32) * 2));
  expect_error(
      [&] {
        noised_rows(stored, halves, {true, 0}, 7, Purpose::teacher_noise, {4, 5, 6});
      },
      {"teacher.noise = uniform", "halves", "float16"});
}

TEST(Codec, UniformNoiseStaysInTheCellOfItsLevel) {
  const at::Tensor stored = greys(), seen = pixel_codec()->encode(stored);
  const at::Tensor x = dequantised(stored, *pixel_codec(), 3, {9});
  EXPECT_LE((x - seen).abs().max().item<double>(), 0.5 / 127.5 + 1e-6);
  EXPECT_GT((x - seen).abs().max().item<double>(), 0.4 / 127.5);
  const at::Tensor teachers = noised_rows(stored, *pixel_codec(), {true, 0}, 3, Purpose::teacher_noise, {9});
  const at::Tensor level = (teachers + 1) * 128;
  EXPECT_TRUE(level.floor().to(torch::kUInt8).equal(stored));
  EXPECT_TRUE(without_uniform_noise(teachers).equal(seen));
}

TEST(Codec, UniformNoiseIsTakenOffWithinTheLevels) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const at::Tensor x = torch::tensor({-1.5f, -1.0f, 0.999f, 1.0f, 7.0f});
  EXPECT_TRUE(
      pixel_codec()->decode(without_uniform_noise(x)).equal(torch::tensor({0, 0, 255, 255, 255}).to(torch::kUInt8)));
  const at::Tensor odd = without_uniform_noise(torch::tensor({nan, infinity, -infinity}));
  EXPECT_FALSE(odd.isfinite().any().item<bool>()) << "it is still seen that they are not finite";
}

TEST(Codec, ADataSetsPixelsHaveTheirOwnShape) {
  DatasetShape shape{4, 8, 10, {}};
  EXPECT_EQ(shape.pixel_shape(), (std::vector<std::int64_t>{4, 8, 8}));
  shape.codec = std::make_shared<Halves>();
  EXPECT_EQ(shape.pixel_shape(), (std::vector<std::int64_t>{4, 8, 16}));
  EXPECT_EQ(shape.codec->pixels(torch::ones({2, 4, 8, 8}, torch::kFloat16)).sizes(), (at::IntArrayRef{2, 4, 8, 16}));
}

}  // namespace
}  // namespace couplet::testing
