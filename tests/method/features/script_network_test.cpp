// TorchScript programs as feature networks.
#include "method/features/script_network.h"
#include "method/features/open_network.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>
#include <torch/script.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace couplet {
namespace {

constexpr const char* means = R"(
    def forward(self, images):
        return images.float().flatten(1)[:, :6]
)";

class Script : public ::testing::Test {
protected:
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("network_" + std::to_string(::getpid()) + ".pt");
  void TearDown() override { std::filesystem::remove(path); }

  void save(const std::string& source) {
    torch::jit::Module module("Network");
    module.define(source);
    module.save(path.string());
  }
  std::unique_ptr<FeatureNetwork> network(std::vector<std::string> arguments = {}) {
    return make_feature_network({path, std::move(arguments)}, at::kCPU);
  }
  /// The refusal of these images, or of the file itself.
  std::string refusal(std::vector<std::string> arguments = {}, at::IntArrayRef shape = {5, 3, 8, 8}) {
    try {
      network(std::move(arguments))->describe(images(shape));
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find('\n'), std::string::npos) << "not one line: " << text;
      EXPECT_NE(text.find(path.filename().string()), std::string::npos) << "does not name the file: " << text;
      return text;
    }
    return "accepted";
  }
  static at::Tensor images(at::IntArrayRef shape) {
    torch::manual_seed(1);
    return torch::randint(0, 256, shape, torch::kUInt8);
  }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Script, FeaturesAreTheProgramsOutput) {
  save(means);
  const at::Tensor rows = images({60, 3, 8, 8});
  const ImageFeatures made = network()->describe(rows);
  EXPECT_TRUE(at::equal(made.features, rows.flatten(1).narrow(1, 0, 6).to(at::kFloat)));
  EXPECT_FALSE(made.logits.defined());
  EXPECT_EQ(network()->resize(), "inside the network");
}

// On 10a555e its name went into records as it was, which ended the evaluation when they were written.
TEST_F(Script, AFileWhoseNameIsNoUtf8HasANameAllTheSame) {
  path = path.parent_path() / (path.stem().string() + "-gr\xFC.pt");
  save(means);
  EXPECT_EQ(network()->name(), path.stem().string().substr(0, path.stem().string().size() - 1) + "\\xFC.pt");
  EXPECT_NO_THROW(nlohmann::json(network()->name()).dump());
}

TEST_F(Script, ARowsDigitsDoNotDependOnTheBatch) {
  torch::manual_seed(7);
  torch::jit::Module module("Network");
  module.register_parameter("weight", torch::randn({64, 3, 5, 5}), false);
  module.register_parameter("matrix", torch::randn({33, 64}), false);
  module.define(R"(
    def forward(self, images):
        x = torch.conv2d(images.float() / 255, self.weight, None, [1, 1], [2, 2])
        return torch.relu(x).mean([2, 3]).matmul(self.matrix.t())
)");
  module.save(path.string());
  const at::Tensor rows = images({70, 3, 16, 16});
  const auto described = network();
  const at::Tensor all = described->describe(rows).features;
  EXPECT_EQ(all.size(1), 33);
  for (const std::int64_t count : {1, 2, 7, 24, 25, 26, 69})
    EXPECT_TRUE(at::equal(described->describe(rows.narrow(0, 0, count)).features, all.narrow(0, 0, count))) << count;
  EXPECT_TRUE(at::equal(described->describe(rows).features, all));
}

TEST_F(Script, ArgumentsReachTheProgram) {
  save(R"(
    def forward(self, images, return_features: bool = False, scale: float = 1.0, power: int = 1):
        x = images.float().flatten(1)
        if return_features:
            return scale * x ** power
        return torch.softmax(x, 1)
)");
  const at::Tensor rows = images({4, 3, 8, 8});
  const at::Tensor plain = rows.to(at::kFloat).flatten(1);
  EXPECT_SAYS(refusal(), "probabilities");
  EXPECT_TRUE(at::equal(network({"return_features=True"})->describe(rows).features, plain));
  EXPECT_TRUE(at::equal(network({"True", "scale=2", "power=2"})->describe(rows).features, 2 * plain.square()));
  EXPECT_SAYS(refusal({"features=True"}), "return_features, scale, power");
  EXPECT_SAYS(refusal({"True", "1", "1", "1"}), "too many");
  EXPECT_NE(refusal({"return_features=often"}), "accepted");
  // Arguments make another network.
  EXPECT_NE(network({"True"})->hash(), network()->hash());
  EXPECT_EQ(network({"True"})->name(), path.filename().string() + "(True)");
}

TEST_F(Script, TuplesAndDictsGiveTheirFeatures) {
  const at::Tensor rows = images({4, 3, 8, 8});
  const at::Tensor plain = rows.to(at::kFloat).flatten(1);
  save(R"(
    def forward(self, images):
        x = images.float().flatten(1)
        return x[:, :5].unsqueeze(2).unsqueeze(3), x
)");
  EXPECT_TRUE(at::equal(network()->describe(rows).features, plain.narrow(1, 0, 5)));
  save(R"(
    def forward(self, images):
        x = images.float()
        return {"logits": x.flatten(1)[:, :9], "spatial": x[:, :2], "features": x.flatten(1)[:, :5]}
)");
  const ImageFeatures made = network()->describe(rows);
  EXPECT_TRUE(at::equal(made.features, plain.narrow(1, 0, 5)));
  EXPECT_TRUE(at::equal(made.logits, plain.narrow(1, 0, 9)));
  EXPECT_TRUE(at::equal(made.spatial, plain.narrow(1, 0, 128)));
  save(R"(
    def forward(self, images):
        return {"tokens": images.float()}
)");
  EXPECT_SAYS(refusal(), "tokens");
}

TEST_F(Script, GreyImagesBecomeRgbWhereItTakesThreeChannels) {
  save(R"(
    def forward(self, images):
        assert images.shape[1] == 3, "three channels"
        return images.float().flatten(1)
)");
  const at::Tensor grey = images({3, 1, 8, 8});
  EXPECT_TRUE(at::equal(network()->describe(grey).features, as_rgb(grey).to(at::kFloat).flatten(1)));
  EXPECT_SAYS(refusal({}, {3, 2, 8, 8}), "2x8x8");
  save(R"(
    def forward(self, images):
        return images.float().view(images.shape[0], 3 * 16 * 16)
)");
  EXPECT_SAYS(refusal({}, {3, 3, 8, 8}), "3x8x8");
}

TEST_F(Script, WhatIsNoFeatureNetworkIsRefused) {
  EXPECT_SAYS(refusal(), "no such file");
  publish_file(path, "no network");
  EXPECT_SAYS(refusal(), "neither a TorchScript program");
  publish_file(path, "PK\x03\x04 and nothing more");
  EXPECT_SAYS(refusal(), "is no TorchScript program");
  save(R"(
    def forward(self, images):
        return images.float()
)");
  EXPECT_SAYS(refusal(), "[2, 3, 8, 8]");
  save(R"(
    def forward(self, images):
        return images.float().flatten(1).mean(0)
)");
  EXPECT_SAYS(refusal(), "one row of floating-point numbers an image");
  save(R"(
    def forward(self, images):
        return images.flatten(1)
)");
  EXPECT_SAYS(refusal(), "Byte");
  save(R"(
    def forward(self, images):
        return "features"
)");
  EXPECT_SAYS(refusal(), "String");
  save(R"(
    def forward(self, images):
        x = images.float().flatten(1)
        return x - x.mean(0, True)
)");
  EXPECT_SAYS(refusal(), "depend on the other images");
}

}  // namespace
}  // namespace couplet
