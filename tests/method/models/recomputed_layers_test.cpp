// The models with X.checkpoint-activations: the same gradients bit for bit, in less memory.
#include "method/models/autoencoder.h"
#include "method/models/classifier.h"
#include "method/models/fields/sit.h"
#include "method/models/fields/unet.h"
#include "method/models/tarflow.h"
#include "pipeline/tensor/autocast.h"
#include "tests/pipeline/training/memory_peak.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>

#include <functional>
#include <optional>
#include <string>

namespace couplet::testing {
namespace {

constexpr std::int64_t rows = 16;

const TarFlowOptions teacher{.in_channels = 1,
                             .image_size = 16,
                             .patch = 2,
                             .channels = 32,
                             .blocks = 2,
                             .layers = {3},
                             .head_size = 16,
                             .num_classes = 4,
                             .nvp = true};
const SiTOptions student{.in_channels = 1,
                         .image_size = 16,
                         .patch = 2,
                         .channels = 32,
                         .depth = 6,
                         .heads = 2,
                         .num_classes = 4,
                         .mlp_ratio = 4,
                         .learn_sigma = false};
const ClassifierOptions classifier{
    .in_channels = 1, .image_size = 16, .channels = 8, .dimension = 16, .num_classes = 4};

struct Inputs {
  at::Tensor x, t, y;
  Inputs() {
    torch::manual_seed(9);
    x = at::randn({rows, 1, 16, 16});
    t = at::rand({rows});
    y = at::randint(4, {rows}, at::kLong);
  }
};

/// No parameter may be zero, as some are at first: nothing would come through.
template <class Model>
Model filled(Model model) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : model->parameters()) parameter.normal_(0, 0.1);
  return model;
}

struct Run {
  at::Tensor loss;
  std::vector<at::Tensor> gradients;
  std::int64_t peak = 0;
};

/// Forward under autocast, backward outside it, as in training.
template <class Model>
Run run(Model model, const std::string& precision, const std::function<at::Tensor(Model&, const Inputs&)>& loss) {
  const Inputs in;
  Run out;
  const MemoryPeak peak;
  {
    const Autocast autocast(precision, at::kCPU);
    out.loss = loss(model, in);
  }
  out.loss.backward();
  out.peak = peak.bytes();
  for (const auto& parameter : model->parameters()) out.gradients.push_back(parameter.grad());
  return out;
}

template <class Model, class Options>
void expect_equal(Options options, Model (*make)(const Options&, std::uint64_t),
                  const std::function<at::Tensor(Model&, const Inputs&)>& loss, std::optional<double> share) {
  for (const char* precision : {"float32", "bfloat16"}) {
    options.recompute = false;
    const Run kept = run<Model>(filled(make(options, 1)), precision, loss);
    options.recompute = true;
    const Run again = run<Model>(filled(make(options, 1)), precision, loss);
    EXPECT_TRUE(again.loss.equal(kept.loss)) << precision;
    ASSERT_EQ(again.gradients.size(), kept.gradients.size());
    for (std::size_t i = 0; i < kept.gradients.size(); ++i) {
      ASSERT_TRUE(kept.gradients[i].defined() && again.gradients[i].defined()) << i;
      EXPECT_TRUE(again.gradients[i].equal(kept.gradients[i])) << precision << " " << i;
      EXPECT_TRUE(kept.gradients[i].isfinite().all().item<bool>()) << i;
    }
    if (share) {
      EXPECT_LT(static_cast<double>(again.peak), *share * static_cast<double>(kept.peak)) << precision;
    }
  }
}

TEST(RecomputedLayers, TarFlow) {
  expect_equal<TarFlow, TarFlowOptions>(
      teacher, make_tarflow, [](TarFlow& model, const Inputs& in) { return model->loss(model(in.x, in.y)); }, 0.6);
  TarFlowOptions dropping = teacher;
  dropping.dropout = 0.2;
  expect_equal<TarFlow, TarFlowOptions>(
      dropping, make_tarflow,
      [](TarFlow& model, const Inputs& in) { return model->loss(model(in.x, in.y, at::arange(rows, at::kLong))); },
      std::nullopt);
}

TEST(RecomputedLayers, SiT) {
  expect_equal<SiT, SiTOptions>(
      student, make_sit,
      [](SiT& model, const Inputs& in) {
        return model->forward(in.x, in.t, {in.y, {}}).to(at::kFloat).square().mean();
      },
      0.6);
}

TEST(RecomputedLayers, UNet) {
  UNetOptions options{.in_channels = 1, .out_channels = 1, .image_size = 16, .num_classes = 4};
  options.multipliers = {1, 1};
  options.dropout = 0.2;
  expect_equal<UNet, UNetOptions>(
      options, make_unet,
      [](UNet& model, const Inputs& in) {
        const at::Tensor positions = at::arange(rows, at::kLong);
        return model->forward(in.x, in.t, {in.y, {}, positions}).to(at::kFloat).square().mean();
      },
      0.6);
}

TEST(RecomputedLayers, Autoencoder) {
  const AutoencoderOptions options{.in_channels = 1, .image_size = 16, .channels = 8, .latent_channels = 2};
  expect_equal<Autoencoder, AutoencoderOptions>(
      options, make_autoencoder,
      [](Autoencoder& model, const Inputs& in) {
        const at::Tensor noise = in.x.flatten(1).narrow(1, 0, 2 * 4 * 4).view({rows, 2, 4, 4});
        return model->loss(in.x, noise, 1e-3);
      },
      std::nullopt);  // its layers keep little besides what goes into them
}

TEST(RecomputedLayers, Classifier) {
  expect_equal<Classifier, ClassifierOptions>(
      classifier, make_classifier,
      [](Classifier& model, const Inputs& in) {
        return torch::nn::functional::cross_entropy(model->forward(in.x).to(at::kFloat), in.y);
      },
      std::nullopt);  // its first layer makes most of what there is: computing it again saves nothing
}

}  // namespace
}  // namespace couplet::testing
