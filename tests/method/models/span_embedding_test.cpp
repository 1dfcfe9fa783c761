// Fields that are told a span of time: where they begin, and what they are without.
#include "method/models/span_embedding.h"

#include "method/models/field.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <memory>
#include <string>

namespace couplet {
namespace {

struct SpanEmbeddingTest : ::testing::TestWithParam<const char*> {
  const FieldKind& kind = find_field(GetParam());

  static FieldOptions options(bool spans) {
    FieldOptions all{
        .image_channels = 1, .image_size = 8, .num_classes = 3, .patch = 2, .channels = 32, .depth = 2, .heads = 2};
    all.multipliers = {1, 2};
    all.blocks = 1;
    all.time_scale = 1;
    all.spans = spans;
    return all;
  }
  std::shared_ptr<Field> field(bool spans) const { return kind.make(options(spans), 4); }
};

void perturb_all(torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.parameters()) parameter.add_(at::randn_like(parameter), 0.2);
}

TEST_P(SpanEmbeddingTest, BeginsAsTheFieldWithoutIt) {
  const auto plain = named_tensors(*field(false)), with = named_tensors(*field(true));
  for (const auto& [name, tensor] : plain) EXPECT_TRUE(with.at(name).equal(tensor)) << name;
  for (const auto& [name, tensor] : with) EXPECT_NE(plain.contains(name), name.starts_with("span_embed.")) << name;
  EXPECT_EQ(with.size(), plain.size() + 4);
  EXPECT_EQ(with.at("span_embed.2.weight").abs().max().item<double>(), 0);
  EXPECT_GT(with.at("span_embed.0.weight").abs().max().item<double>(), 0);
}

TEST_P(SpanEmbeddingTest, TakesTheWeightsOfAFieldWithoutIt) {
  const at::NoGradGuard no_grad;
  const auto plain = field(false), with = field(true);
  perturb_all(*plain);
  load_tensors(*with, with_span_embedding(named_tensors(*plain), *with), "the field without");
  const at::Tensor x = at::randn({5, 1, 8, 8}), t = at::rand({5});
  Condition condition{at::tensor({0, 1, 2, 3, 0}, at::kLong), {}};
  const at::Tensor expected = plain->forward(x, t, condition);
  EXPECT_GT(expected.abs().max().item<double>(), 1e-2);
  EXPECT_TRUE(with->forward(x, t, condition).equal(expected));
  condition.span = at::rand({5});
  EXPECT_TRUE(with->forward(x, t, condition).equal(expected)) << "no span has a say before training";

  perturb_all(*with);
  const at::Tensor asked = with->forward(x, t, condition);
  condition.span = at::zeros({5});
  const at::Tensor at_once = with->forward(x, t, condition);
  for (std::int64_t row = 0; row < 5; ++row)
    EXPECT_GT((asked[row] - at_once[row]).abs().max().item<double>(), 1e-4) << row;
  condition.span.reset();
  EXPECT_TRUE(with->forward(x, t, condition).equal(at_once)) << "a span that is not said is 0";
  const NamedTensors own = named_tensors(*with);
  EXPECT_EQ(tensors_hash(with_span_embedding(own, *field(true))), tensors_hash(own)) << "weights that have it keep it";
}

TEST_P(SpanEmbeddingTest, IsCounted) {
  EXPECT_TRUE(kind.takes_spans);
  for (const bool spans : {false, true}) {
    const auto made = field(spans);
    EXPECT_EQ(kind.parameter_count(options(spans)), parameter_count(*made));
    EXPECT_EQ(kind.forward_flops(options(spans)), made->forward_flops());
    EXPECT_EQ(made->sizes().contains("spans"), spans);
  }
  EXPECT_GT(kind.forward_flops(options(true)), kind.forward_flops(options(false)));
}

INSTANTIATE_TEST_SUITE_P(Fields, SpanEmbeddingTest, ::testing::Values("sit", "unet", "mlp"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace couplet
