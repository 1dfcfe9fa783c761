#include "method/models/fields/mlp.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <cmath>
#include <numbers>
#include <string>

namespace couplet::testing {
namespace {

FieldOptions points() {
  FieldOptions options{.image_channels = 2, .image_size = 1, .num_classes = 3};
  options.channels = 16;
  options.depth = 3;
  return options;
}

std::shared_ptr<Field> trained_mlp(const FieldOptions& options) {
  const auto field = find_field("mlp").make(options, 4);
  const at::NoGradGuard no_grad;
  for (auto& parameter : field->parameters()) parameter.normal_(0, 0.5);
  return field;
}

// Against the formula, written out: layers by matmul, one row at a time.
TEST(MlpField, IsThePerceptronThatItsNamesSay) {
  const FieldOptions options = points();
  const auto field = trained_mlp(options);
  const NamedTensors w = named_tensors(*field);
  const at::Tensor x = at::randn({4, 2, 1, 1}), t = at::rand({4}), labels = at::tensor({0, 2, 3, -1}, at::kLong);
  const at::Tensor out = field->forward(x, t, {labels, {}});
  ASSERT_EQ(out.sizes(), x.sizes());
  for (std::int64_t row = 0; row < 4; ++row) {
    std::vector<float> input{x[row][0].item<float>(), x[row][1].item<float>(), t[row].item<float>()};
    for (const bool sine : {false, true})
      for (int k = 1; k <= 8; ++k) {
        const double angle = std::numbers::pi * k * t[row].item<double>();
        input.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
    const std::int64_t label = labels[row].item<std::int64_t>();
    at::Tensor h = at::mv(w.at("hidden.0.weight"), at::tensor(input)) + w.at("hidden.0.bias") +
                   w.at("label_emb.weight")[label < 0 ? 3 : label];
    for (const char* layer : {"hidden.1", "hidden.2", "out"})
      h = at::mv(w.at(std::string(layer) + ".weight"), at::silu(h)) + w.at(std::string(layer) + ".bias");
    EXPECT_LE((h - out[row].flatten()).abs().max().item<double>(), 2e-5) << row;
  }
}

TEST(MlpField, StartsAsTheZeroFieldAndIsAFunctionOfTheSeed) {
  const FieldKind& kind = find_field("mlp");
  const auto field = kind.make(points(), 1);
  const at::Tensor out = field->forward(at::randn({3, 2, 1, 1}), at::rand({3}), {at::zeros({3}, at::kLong), {}});
  EXPECT_EQ(out.abs().max().item<double>(), 0);
  EXPECT_EQ(tensors_hash(named_tensors(*field)), tensors_hash(named_tensors(*kind.make(points(), 1))));
  EXPECT_NE(tensors_hash(named_tensors(*field)), tensors_hash(named_tensors(*kind.make(points(), 2))));
  EXPECT_EQ(field->no_label(), 3);
}

TEST(MlpField, SaysItsSizeWithoutBeingMade) {
  FieldOptions options = points();
  options.condition_channels = 1;
  options.image_size = 3;
  const FieldKind& kind = find_field("mlp");
  const auto field = kind.make(options, 1);
  EXPECT_EQ(kind.parameter_count(options), parameter_count(*field));
  EXPECT_EQ(kind.forward_flops(options), field->forward_flops());
  EXPECT_EQ(kind.forward_flops(options), 2.0 * (16 * (3 * 9 + 17) + 2 * 16 * 16 + 16 * 18));
}

TEST(MlpField, SeesTheImageOfItsCondition) {
  FieldOptions options = points();
  options.condition_channels = 1;
  const auto field = trained_mlp(options);
  const at::Tensor x = at::randn({2, 2, 1, 1}), t = at::rand({2}), image = at::randn({2, 1, 1, 1});
  const at::Tensor labels = at::zeros({2}, at::kLong);
  EXPECT_FALSE(field->forward(x, t, {labels, image}).equal(field->forward(x, t, {labels, -image})));
  const auto refusal = [&](const at::Tensor& given) -> std::string {
    try {
      field->forward(x, t, {labels, given});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(refusal({}).find("1 channels beside each image, and is given none"), std::string::npos) << refusal({});
  const std::string wrong = refusal(at::zeros({2, 1, 2, 2}));
  EXPECT_NE(wrong.find("conditions [2, 1, 1, 1] beside images [2, 2, 1, 1], and is given [2, 1, 2, 2]"),
            std::string::npos)
      << wrong;
}

TEST(MlpField, RefusesSizesThatDoNotFit) {
  FieldOptions options = points();
  options.depth = 0;
  EXPECT_THROW(find_field("mlp").check(options), Error);
}

}  // namespace
}  // namespace couplet::testing
