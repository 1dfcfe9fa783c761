#include "pipeline/tensor/weights.h"

#include "method/models/tarflow.h"
#include "pipeline/tensor/torch_file.h"
#include "tests/method/reference.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <ATen/core/Dict.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <fstream>
#include <iterator>
#include <limits>

namespace couplet::testing {
namespace {

struct Scratch {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("couplet_weights_" + std::to_string(::getpid()) + ".safetensors");
  ~Scratch() { std::filesystem::remove(path); }
  std::string bytes() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

const TarFlowOptions small{.in_channels = 1,
                           .image_size = 4,
                           .patch = 2,
                           .channels = 16,
                           .blocks = 2,
                           .layers = {1},
                           .head_size = 8,
                           .num_classes = 3,
                           .nvp = true};

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Weights, FilesKeepEveryTypeShapeAndNote) {
  const Scratch file;
  NamedTensors tensors{{"empty", at::empty({0, 3})},
                       {"scalar", at::scalar_tensor(2.5)},
                       {"turned", at::arange(6, at::kFloat).view({2, 3}).t()}};
  for (const auto type : {at::kByte, at::kInt, at::kLong, at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    EXPECT_EQ(scalar_type(element_type(type)), type);
    tensors[c10::toString(type)] = (at::rand({3, 2}) * 100).to(type);
  }
  write_tensors(file.path, tensors, {{"seed", "7"}});
  EXPECT_EQ(Safetensors(file.path).metadata().at("seed"), "7");
  const auto back = read_tensors(file.path);
  ASSERT_EQ(back.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(back.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(back.at(name), tensor)) << name;
  }
  const auto first = file.bytes();
  write_tensors(file.path, back, {{"seed", "7"}});
  EXPECT_EQ(file.bytes(), first);
}

/// By LibTorch's own writer, which puts types on its dicts, and by ours, which does not. The file's name says nothing.
TEST(Weights, StateDictsAreReadAsSafetensorsAre) {
  const Scratch file;
  const at::Tensor shared = at::rand({4, 6});
  NamedTensors tensors{{"rows", shared.narrow(0, 1, 2)},
                       {"columns", shared.narrow(1, 1, 2)},
                       {"turned", shared.t()},
                       {"scalar", at::scalar_tensor(2.5)},
                       {"empty", at::empty({0, 3})}};
  for (const auto type : {at::kByte, at::kInt, at::kLong, at::kHalf, at::kBFloat16, at::kFloat, at::kDouble})
    tensors[c10::toString(type)] = (at::rand({3, 2}) * 100).to(type);
  const auto expect_read = [&] {
    const auto back = read_tensors(file.path);
    ASSERT_EQ(back.size(), tensors.size());
    for (const auto& [name, tensor] : tensors) {
      EXPECT_EQ(back.at(name).scalar_type(), tensor.scalar_type()) << name;
      EXPECT_TRUE(at::equal(back.at(name), tensor)) << name;
    }
  };
  publish_torch_file(file.path, tensors);
  expect_read();
  c10::Dict<std::string, at::Tensor> named;
  for (const auto& [name, tensor] : tensors) named.insert(name, tensor);
  const std::vector<char> saved = torch::jit::pickle_save(named);
  std::ofstream(file.path, std::ios::binary).write(saved.data(), static_cast<std::streamsize>(saved.size()));
  expect_read();
}

TEST(Weights, LoadingGivesTheModelThatWasSaved) {
  const Scratch file;
  auto saved = make_tarflow(small, 1), loaded = make_tarflow(small, 2);
  write_tensors(file.path, named_tensors(*saved));
  load_tensors(*loaded, read_tensors(file.path), file.path.string());
  EXPECT_EQ(tensors_hash(named_tensors(*saved)), tensors_hash(named_tensors(*loaded)));
}

TEST(Weights, OtherSizesAreRefusedWithBothShapesAndNothingIsChanged) {
  auto wide = small;
  wide.num_classes = 5;
  auto model = make_tarflow(small, 1);
  const auto before = tensors_hash(named_tensors(*model));
  const auto message =
      message_of([&] { load_tensors(*model, named_tensors(*make_tarflow(wide, 2)), "other.safetensors"); });
  EXPECT_NE(message.find("other.safetensors: blocks.0.class_embed has shape [5, 1, 16], the model's has [3, 1, 16]"),
            std::string::npos)
      << message;
  EXPECT_EQ(tensors_hash(named_tensors(*model)), before);
}

TEST(Weights, MissingAndUnknownNamesAreRefusedUnlessIgnored) {
  auto model = make_tarflow(small, 1);
  auto tensors = named_tensors(*model);
  tensors["blocks.0.attn_mask"] = at::ones({4, 4});
  const auto unknown = message_of([&] { load_tensors(*model, tensors, "file"); });
  EXPECT_NE(unknown.find("blocks.0.attn_mask"), std::string::npos) << unknown;
  EXPECT_EQ(message_of([&] { load_tensors(*model, tensors, "file", {"attn_mask"}); }), "accepted");
  tensors.erase("var");
  const auto missing = message_of([&] { load_tensors(*model, tensors, "file", {"attn_mask"}); });
  EXPECT_NE(missing.find("var"), std::string::npos) << missing;
}

// 10a555e took whole numbers for weights.
TEST(Weights, WholeNumbersAreNoWeights) {
  auto model = make_tarflow(small, 1);
  auto tensors = named_tensors(*model);
  tensors["blocks.0.proj_in.weight"] = at::ones_like(tensors["blocks.0.proj_in.weight"]).to(at::kLong);
  const auto message = message_of([&] { load_tensors(*model, tensors, "file"); });
  EXPECT_NE(message.find("file: blocks.0.proj_in.weight holds whole numbers (Long)"), std::string::npos) << message;
}

// On 10a555e a model could begin with such weights, and a stage end with them.
TEST(Weights, ValuesThatAreNotFiniteAreRefused) {
  auto model = make_tarflow(small, 1);
  EXPECT_EQ(message_of([&] { require_finite_weights(*model, "file"); }), "accepted");
  const at::NoGradGuard no_grad;
  model->blocks()[1]->proj_in->bias[0] = std::numeric_limits<float>::quiet_NaN();
  model->blocks()[1]->proj_in->bias[1] = std::numeric_limits<float>::infinity();
  const auto message = message_of([&] { require_finite_weights(*model, "file"); });
  EXPECT_NE(message.find("file: 2 of its values are NaN or infinite, in blocks.1.proj_in.bias"), std::string::npos)
      << message;
}

TEST(Weights, HashSeesNamesTypesShapesAndBytes) {
  const auto values = at::arange(6, at::kFloat);
  const auto hash = tensors_hash({{"a", values}});
  EXPECT_EQ(tensors_hash({{"a", values.clone()}}), hash);
  EXPECT_NE(tensors_hash({{"b", values}}), hash);
  EXPECT_NE(tensors_hash({{"a", values.view({2, 3})}}), hash);
  EXPECT_NE(tensors_hash({{"a", values.view(at::kInt)}}), hash);
  EXPECT_NE(tensors_hash({{"a", values + 1}}), hash);
}

}  // namespace
}  // namespace couplet::testing
