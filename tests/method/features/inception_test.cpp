// The FID Inception network against torch-fidelity's, with random weights (inception_reference.py made the values).
#include "method/features/inception.h"

#include "method/features/open_network.h"
#include "pipeline/tensor/torch_file.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "tests/method/reference.h"

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>

namespace couplet::testing {
namespace {

/// splitmix64 of tensor · 2^32 + index.
std::uint64_t mixed(std::uint64_t tensor, std::uint64_t index) {
  std::uint64_t z = ((tensor << 32) + index + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

NamedTensors random_weights() {
  const Inception network;
  NamedTensors weights;
  std::uint64_t tensor = 0;
  for (const auto& [name, own] : named_tensors(*network)) {
    if (name.ends_with("num_batches_tracked")) continue;
    const bool matrix = own.dim() > 1;
    const double bound = matrix ? std::sqrt(6.0 / static_cast<double>(own.numel() / own.size(0))) : 0;
    const double shift = name.ends_with("running_var") || name.ends_with("bn.weight") ? 0.5 : -0.5;
    at::Tensor made = at::empty(own.sizes(), at::kFloat);
    auto* values = made.data_ptr<float>();
    for (std::int64_t i = 0; i < made.numel(); ++i) {
      const double u = static_cast<double>(mixed(tensor, static_cast<std::uint64_t>(i)) >> 40) / (1 << 24);
      values[i] = static_cast<float>(matrix ? (2 * u - 1) * bound : u + shift);
    }
    weights.emplace(name, made);
    ++tensor;
  }
  return weights;
}

at::Tensor random_images(std::uint64_t tensor, at::IntArrayRef shape) {
  at::Tensor images = at::empty(shape, at::kByte);
  auto* pixels = images.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < images.numel(); ++i)
    pixels[i] = static_cast<std::uint8_t>(mixed(tensor, static_cast<std::uint64_t>(i)) >> 56);
  return images;
}

/// Every 13th row and 7th column.
at::Tensor some_pixels(const at::Tensor& images) {
  return images.slice(2, 0, images.size(2), 13).slice(3, 0, images.size(3), 7);
}

NamedTensors reference_values() {
  return read_tensors(std::filesystem::path(COUPLET_TEST_DATA) / "inception.safetensors");
}

double relative(const at::Tensor& ours, const at::Tensor& theirs) {
  return difference(ours, theirs) / theirs.abs().max().item<double>();
}

class InceptionFile : public ::testing::Test {
protected:
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("inception_" + std::to_string(::getpid()) + ".safetensors");
  void TearDown() override { std::filesystem::remove(path); }
};

TEST(Inception, ResizesAsTensorFlow) {
  const NamedTensors reference = reference_values();
  const at::Tensor larger = resize_as_tensorflow(random_images(1001, {1, 3, 37, 53}), InceptionImpl::side);
  const at::Tensor smaller = resize_as_tensorflow(random_images(1002, {1, 3, 401, 310}), InceptionImpl::side);
  EXPECT_LT(relative(some_pixels(larger), reference.at("larger")), 1e-5);
  EXPECT_LT(relative(some_pixels(smaller), reference.at("smaller")), 1e-5);
  const at::Tensor same = random_images(1003, {1, 3, 299, 299});
  EXPECT_TRUE(at::equal(resize_as_tensorflow(same, InceptionImpl::side), same.to(at::kFloat)));
}

TEST_F(InceptionFile, FeaturesAreTorchFidelitys) {
  publish_tensors(path, random_weights());
  const auto network = make_feature_network(NetworkFile{path, {}}, at::kCPU);
  const NamedTensors reference = reference_values();
  const at::Tensor brightness = at::arange(1, 17, at::kByte).view({-1, 1, 1, 1});
  const at::Tensor images = at::div(random_images(1000, {16, 3, 37, 53}), brightness, "floor");
  const ImageFeatures made = network->describe(images);
  EXPECT_LT(relative(made.features, reference.at("features")), 1e-4);
  EXPECT_LT(relative(made.logits, reference.at("logits")), 1e-4);
  EXPECT_LT(relative(made.spatial.narrow(0, 0, 4), reference.at("spatial")), 1e-4);
  // Rows are told apart by far more than the tolerance.
  const double spread = difference(reference.at("features")[0], reference.at("features")[15]);
  EXPECT_GT(spread / reference.at("features").abs().max().item<double>(), 1e-2);
  // Grey images are RGB of three equal channels; and three rows' digits are two rows'.
  const at::Tensor grey = images.narrow(0, 0, 3).narrow(1, 0, 1);
  EXPECT_TRUE(at::equal(network->describe(grey.narrow(0, 0, 2)).features,
                        network->describe(as_rgb(grey)).features.narrow(0, 0, 2)));
  EXPECT_EQ(network->resize(), "bilinear, TensorFlow 1's, to 299x299");
}

/// Of safetensors and of a state dict alike, whatever the file's name.
TEST_F(InceptionFile, OtherWeightsAreRefused) {
  const NamedTensors other{{"fc.weight", at::zeros({1000, 2048})}};
  const auto expect_refused = [&] {
    try {
      make_feature_network(NetworkFile{path, {}}, at::kCPU);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path.string() + ": the model's "), std::string::npos) << error.what();
    }
  };
  publish_tensors(path, other);
  expect_refused();
  publish_torch_file(path, other);
  expect_refused();
}

}  // namespace
}  // namespace couplet::testing
