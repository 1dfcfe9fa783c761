// The U-Net against openai/guided-diffusion, for every instance and size that the reference file says.
#include "method/models/fields/unet.h"
#include "tests/method/reference.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace couplet::testing {
namespace {

/// Uniform in [-1, 1), exact in float32 (reference/README.md).
at::Tensor formula(const std::string& name, std::uint64_t seed, const std::vector<std::int64_t>& shape) {
  std::uint64_t key = 0xCBF29CE484222325;
  for (const char byte : name) key = (key ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  key ^= seed * 0x9E3779B97F4A7C15;
  at::Tensor values = at::empty(shape, at::kFloat);
  auto* out = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    std::uint64_t s = key + static_cast<std::uint64_t>(i) + 0x9E3779B97F4A7C15;
    s = (s ^ s >> 30) * 0xBF58476D1CE4E5B9;
    s = (s ^ s >> 27) * 0x94D049BB133111EB;
    s ^= s >> 31;
    out[i] = static_cast<float>(static_cast<double>(s >> 40) * 0x1p-23 - 1);
  }
  return values;
}

at::Tensor weight_of(const std::string& name, std::uint64_t seed, const std::vector<std::int64_t>& shape) {
  at::Tensor u = formula(name, seed, shape);
  if (shape.size() == 1) return u / 8 + (name.ends_with(".weight") ? 1 : 0);
  double inner = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) inner *= static_cast<double>(shape[i]);
  return u * std::exp2(-std::floor(std::log2(inner) / 2));
}

struct Instance {
  std::string tag;
  nlohmann::json facts, config;
  UNetOptions options;
  NamedTensors weights;
  at::Tensor x, t, label, low;
};

/// The timesteps are those that guided-diffusion's network takes: our t times a scale of 1.
UNetOptions options_of(const nlohmann::json& c) {
  UNetOptions o;
  o.in_channels = c.at("ch_in");
  o.condition_channels = c.at("superres") > 0 ? o.in_channels : 0;
  o.out_channels = c.at("ch_out");
  o.image_size = c.at("image");
  o.num_classes = c.at("classes");
  o.channels = c.at("model_channels");
  o.multipliers = c.at("mult").get<std::vector<std::int64_t>>();
  o.blocks = c.at("res");
  o.attention = c.at("attn_ds").get<std::vector<std::int64_t>>();
  o.heads = c.at("heads");
  o.head_channels = std::max(c.at("head_channels").get<std::int64_t>(), std::int64_t{0});
  o.scale_shift = c.at("film");
  o.residual_resampling = c.at("updown");
  o.conv_resample = c.at("conv_resample");
  o.new_attention_order = c.at("new_order");
  o.time_scale = 1;
  return o;
}

std::vector<Instance> instances(const ReferenceFile& file) {
  std::vector<Instance> all;
  const std::uint64_t seed = std::stoull(file.metadata.at("seed"));
  for (const auto& [name, text] : file.metadata) {
    if (!file.metadata.contains(name + ".names")) continue;
    Instance one;
    one.tag = name;
    one.facts = nlohmann::json::parse(text);
    one.config = one.facts.at("config");
    one.options = options_of(one.config);
    const auto shapes = nlohmann::json::parse(file.metadata.at(name + ".names"));
    for (const auto& [weight, shape] : shapes.items())
      one.weights[weight] = weight_of(weight, seed, shape.get<std::vector<std::int64_t>>());
    const std::int64_t rows = one.config.at("batch"), side = one.config.at("image"), channels = one.config.at("ch_in");
    one.x = 2 * formula(name + ".x", seed, {rows, channels, side, side});
    one.t = file[name + ".t"];
    one.label = file.has(name + ".label") ? file[name + ".label"] : at::zeros({rows}, at::kLong);
    if (const std::int64_t factor = one.config.at("superres"); factor > 0)
      one.low = 2 * formula(name + ".low", seed, {rows, channels, side / factor, side / factor});
    all.push_back(std::move(one));
  }
  return all;
}

/// What the network of the instance computes with other options.
at::Tensor output_of(const Instance& in, const UNetOptions& options, const at::Tensor& t, const at::Tensor& label,
                     const std::function<void(UNet&)>& look = {}) {
  UNet net = make_unet(options, 1);
  load_tensors(*net, import_unet(in.weights, options), in.tag);
  Condition condition{label, {}};
  const std::int64_t side = options.image_size;
  if (in.low.defined()) condition.image = at::upsample_bilinear2d(in.low, {side, side}, /*align_corners=*/false);
  const at::Tensor out = net->forward(in.x, t, condition);
  if (look) look(net);
  return out;
}

class UNetReference : public ::testing::Test {
protected:
  ReferenceFile file{"adm_unet"};
  std::vector<Instance> all = instances(file);

  void SetUp() override { ASSERT_FALSE(all.empty()); }
};

TEST_F(UNetReference, TheFormulaGivesItsWeights) {
  for (const Instance& in : all) {
    for (const auto& [name, sum] : in.facts.at("checksum").items())
      EXPECT_NEAR(in.weights.at(name).sum(at::kDouble).item<double>(), sum.get<double>(), 1e-6) << in.tag << name;
    EXPECT_EQ(difference(in.x.flatten().narrow(0, 0, file[in.tag + ".x_first"].numel()), file[in.tag + ".x_first"]), 0);
    if (file.has(in.tag + ".x")) {
      EXPECT_EQ(difference(in.x, file[in.tag + ".x"]), 0);
    }
    if (file.has(in.tag + ".low")) {
      EXPECT_EQ(difference(in.low, file[in.tag + ".low"]), 0);
    }
  }
}

TEST_F(UNetReference, NamesAndShapesOfItsParameters) {
  for (const Instance& in : all) {
    const UNet net = make_unet(in.options, 1);
    const NamedTensors ours = named_tensors(*net);
    EXPECT_EQ(ours.size(), in.weights.size()) << in.tag;
    std::int64_t no_label = 0;  // our row for it
    for (const auto& [name, tensor] : in.weights) {
      ASSERT_TRUE(ours.contains(name)) << in.tag << " " << name;
      std::vector<std::int64_t> shape = tensor.sizes().vec();
      if (name == "label_emb.weight") {
        ++shape.front();
        no_label = shape.back();
      }
      EXPECT_EQ(ours.at(name).sizes().vec(), shape) << in.tag << " " << name;
    }
    const auto parameters = in.facts.at("parameters").get<std::int64_t>();
    EXPECT_EQ(parameter_count(*net), parameters + no_label) << in.tag;
    EXPECT_EQ(parameter_count(in.options), parameters + no_label) << in.tag;
  }
}

TEST_F(UNetReference, Outputs) {
  for (const bool channels_last : {false, true})
    for (const Instance& in : all) {
      UNetOptions options = in.options;
      options.channels_last = channels_last;
      EXPECT_LE(difference(output_of(in, options, in.t, in.label), file[in.tag + ".out"]), forward_tolerance) << in.tag;
    }
}

TEST_F(UNetReference, Gradients) {
  for (const Instance& in : all) {
    const at::Tensor x = in.x.clone().set_requires_grad(true);
    Instance with_gradient = in;
    with_gradient.x = x;
    UNet kept{nullptr};
    const at::Tensor out = output_of(with_gradient, in.options, in.t, in.label, [&](UNet& net) { kept = net; });
    const at::Tensor loss = out.square().sum() / static_cast<double>(x.size(0));
    loss.backward();
    EXPECT_NEAR(loss.item<double>(), in.facts.at("loss").get<double>(), 1e-5 * loss.item<double>());
    double largest = 0;
    for (const auto& [name, tensor] : file.tensors)
      if (name.starts_with(in.tag + ".grad")) largest = std::max(largest, tensor.abs().max().item<double>());
    const auto expect = [&](at::Tensor ours, const std::string& name) {
      const at::Tensor& theirs = file[name];
      if (ours.dim() > 0 && ours.size(0) == theirs.size(0) + 1) ours = ours.narrow(0, 0, theirs.size(0));
      // Zero but for rounding, such as that of a constant before a norm of single channels: of the size of rounding.
      const double size = theirs.abs().max().item<double>(), rounding = 1e-6 * largest;
      EXPECT_LE(difference(ours, theirs), size < rounding ? rounding : 1e-5 * size) << name;
    };
    const std::string prefix = in.tag + ".grad.";
    int compared = 0;
    for (const auto& parameter : kept->named_parameters())
      if (file.has(prefix + parameter.key())) {
        expect(parameter.value().grad(), prefix + parameter.key());
        ++compared;
      }
    EXPECT_GE(compared, 5) << in.tag;
    expect(x.grad()[0].select(1, 0), in.tag + ".grad_x_first_row");
  }
}

TEST_F(UNetReference, OurTimeIsAThousandthOfATimestep) {
  for (const Instance& in : all) {
    UNetOptions options = in.options;
    options.time_scale = FieldOptions{}.time_scale;
    EXPECT_LE(difference(output_of(in, options, in.t / 1000, in.label), file[in.tag + ".out"]), 1e-4) << in.tag;
  }
}

/// By how much a wrong network differs from the reference, over the instances.
struct Differences {
  double least = std::numeric_limits<double>::infinity(), most = 0;
};

/// What the reference data says that wrong networks differ by at least in its own instances (reference/README.md): in
/// every one, or in one of them at least.
struct Bound {
  double least = 0, most = 0;
};
const std::map<std::string, Bound> own_bounds{{"attention order", {.most = 0.13}},
                                              {"one head", {.most = 0.03}},
                                              {"no attention", {.most = 0.14}},
                                              {"time / 1000", {.least = 0.07}},
                                              {"labels off by one", {.least = 0.04}},
                                              {"sine before cosine", {.least = 0.05}},
                                              {"nearest instead of bilinear", {.least = 0.6}}};
/// The parameters of those instances.
const std::vector<std::int64_t> own_sizes{710115, 1097026, 2438499};

/// Wrong networks differ from the reference by what it says itself; in networks of other sizes by much more than right
/// ones may.
TEST_F(UNetReference, TellsWrongNetworksApart) {
  constexpr double much = 100 * forward_tolerance;
  std::map<std::string, Differences> differences;
  for (const Instance& in : all) {
    const auto found = [&](const char* what, const Instance& of, const UNetOptions& options, const at::Tensor& t,
                           const at::Tensor& label) {
      const double far = difference(output_of(of, options, t, label), file[in.tag + ".out"]);
      Differences& all_of_it = differences[what];
      all_of_it.least = std::min(all_of_it.least, far);
      all_of_it.most = std::max(all_of_it.most, far);
    };
    UNetOptions order = in.options, heads = in.options;
    order.new_attention_order = !order.new_attention_order;
    found("attention order", in, order, in.t, in.label);
    heads.heads = 1, heads.head_channels = 0;
    found("one head", in, heads, in.t, in.label);
    Instance mute = in;  // what attention adds is nothing
    for (auto& [name, tensor] : mute.weights)
      if (name.find("proj_out") != std::string::npos) tensor = at::zeros_like(tensor);
    found("no attention", mute, in.options, in.t, in.label);
    found("time / 1000", in, in.options, in.t / 1000, in.label);
    if (in.options.num_classes > 0)
      found("labels off by one", in, in.options, in.t, at::remainder(in.label + 1, in.options.num_classes));
    Instance swapped = in;  // sine before cosine: the first layer's columns change places
    at::Tensor& first = swapped.weights.at("time_embed.0.weight");
    const std::int64_t half = in.options.channels / 2;
    first = at::cat(
        {first.narrow(1, half, half), first.narrow(1, 0, half), first.narrow(1, 2 * half, first.size(1) - 2 * half)},
        1);
    found("sine before cosine", swapped, in.options, in.t, in.label);
    if (in.low.defined()) {
      Instance nearest = in;
      nearest.low = at::upsample_nearest2d(in.low, {in.options.image_size, in.options.image_size});
      found("nearest instead of bilinear", nearest, in.options, in.t, in.label);
    }
  }
  std::vector<std::int64_t> sizes;
  for (const Instance& in : all) sizes.push_back(in.facts.at("parameters"));
  const bool is_own = sizes == own_sizes;
  EXPECT_EQ(differences.size(), own_bounds.size());
  for (const auto& [what, found] : differences) {
    if (is_own) {
      EXPECT_GE(found.least, own_bounds.at(what).least) << what;
    }
    EXPECT_GE(found.most, is_own ? own_bounds.at(what).most : much) << what;
  }
}

}  // namespace
}  // namespace couplet::testing
