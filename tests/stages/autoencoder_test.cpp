// The autoencoder stage, on one rank and on several.
#include "stages/autoencoder.h"

#include "method/data/images.h"
#include "pipeline/config/options.h"
#include "pipeline/loader/table_rows.h"
#include "stages/prepare.h"
#include "storage/files/atomic_file.h"
#include "tests/pipeline/pipeline_testing.h"
#include "tests/pipeline/training/training_files.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// Colour images of two halves, each of one colour.
class Halves : public SourceImages {
public:
  Halves(const std::string& split, std::int64_t images) : SourceImages("halves, " + split, {images, 3, 16, 16}) {}
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    at::Tensor images = at::empty({count, 3, 16, 16}, at::kByte);
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t channel = 0; channel < 3; ++channel) {
        const std::int64_t image = first + i;
        images[i][channel].narrow(1, 0, 8).fill_(image * (31 + channel) % 256);
        images[i][channel].narrow(1, 8, 8).fill_(image * (57 - channel) % 256);
      }
    return images;
  }
  std::int64_t label(std::int64_t) const override { return 0; }
  std::string content_hash() const override { return "halves"; }
};

constexpr std::int64_t train_rows = 96, test_rows = 20, steps = 6;

/// A run whose data set is there; `more` are keys.
struct Training {
  SharedDirectory folder;
  RunDirectory run{folder / "run"};
  Config config;
  StageGraph graph{{.name = "autoencoder", .kind = "autoencoder", .fingerprint = "f"}};

  explicit Training(const std::vector<Setting>& more = {}) {
    std::vector<Setting> settings{{"prepare.shard-rows", "40", ""},
                                  {"prepare.block-rows", "20", ""},
                                  {"autoencoder.channels", "8", ""},
                                  {"autoencoder.latent-channels", "3", ""},
                                  {"autoencoder.images", "72", ""},
                                  {"autoencoder.batch", "12", ""},
                                  {"autoencoder.learning-rate", "0.01", ""},
                                  {"autoencoder.warmup", "0", ""},
                                  {"autoencoder.ema", "0.5", ""},
                                  {"autoencoder.validate-every", "3", ""},
                                  {"pipeline.checkpoint-every", "2", ""},
                                  {"pipeline.keep-checkpoints", "4", ""}};
    settings.insert(settings.end(), more.begin(), more.end());
    config = resolve_config("", settings);
    const ImageSource source{1, std::make_unique<Halves>("train", train_rows),
                             std::make_unique<Halves>("test", test_rows)};
    publish_dataset(source, config.prepare, run, ranks());
    ranks().barrier();
  }
  /// Makes the stage below another root, of the same data set, with these ranks.
  void make(const RunDirectory& in, Communicator& communicator) {
    if (communicator.is_root()) {
      std::filesystem::create_directories(in.stage("autoencoder"));
      if (in.root() != run.root() && !std::filesystem::exists(in.root() / "prepare"))
        std::filesystem::create_directory_symlink(run.root() / "prepare", in.root() / "prepare");
    }
    communicator.barrier();
    StageContext context{graph[0], graph, config, in, communicator, c10::Device(c10::kCPU)};
    autoencoder(context);
    communicator.barrier();
  }
  void make() { make(run, ranks()); }
  nlohmann::json summary() const { return nlohmann::json::parse(read_file(run.stage("autoencoder") / "summary.json")); }
};

std::vector<double> losses(const std::vector<nlohmann::json>& lines) {
  std::vector<double> all;
  for (const auto& line : lines) all.push_back(line.at("loss").get<double>());
  return all;
}

TEST(AutoencoderStage, PublishesACodecAndSaysHowWellItGivesImagesBack) {
  Training training;
  training.make();
  const auto lines = metrics_of(training.run.stage("autoencoder"));
  ASSERT_EQ(std::ssize(lines), steps);
  EXPECT_LT(lines.back().at("loss").get<double>(), lines.front().at("loss").get<double>());

  torch::jit::Module program = torch::jit::load(training.run.autoencoder_codec().string());
  const at::NoGradGuard no_grad;
  const at::Tensor pixels = Halves("test", test_rows).read(0, test_rows), images = to_float(pixels);
  const at::Tensor latents = program.get_method("encode")({images}).toTensor();
  ASSERT_EQ(latents.sizes(), at::IntArrayRef({test_rows, 6, 4, 4}));
  const at::Tensor mean = latents.narrow(1, 0, 3), deviation = latents.narrow(1, 3, 3);
  const at::Tensor back = program.get_method("decode")({mean.contiguous()}).toTensor();
  const nlohmann::json summary = training.summary();
  const double mse = (back - images).square().mean().item<double>();
  EXPECT_NEAR(summary.at("mse").get<double>(), mse, 1e-4 * mse);
  EXPECT_NEAR(lines.back().at("test_mse").get<double>(), mse, 1e-4 * mse);
  const at::Tensor lost = to_uint8(back).to(at::kDouble) - pixels.to(at::kDouble);
  const at::Tensor ratios = 10 * (255 * 255 / lost.square().flatten(1).mean(1)).log10();
  EXPECT_NEAR(summary.at("psnr").get<double>(), ratios.mean().item<double>(), 1e-2);
  EXPECT_EQ(summary.at("latent").at("shape"), (std::vector<std::int64_t>{3, 4, 4}));
  EXPECT_NEAR(summary.at("latent").at("deviation").get<double>(), deviation.mean().item<double>(), 1e-5);
  for (std::int64_t channel = 0; channel < 3; ++channel) {
    const at::Tensor means = mean.select(1, channel).to(at::kDouble);
    const double drawn =
        means.var(/*unbiased=*/false).item<double>() + deviation.select(1, channel).square().mean().item<double>();
    const auto entry = static_cast<std::size_t>(channel);
    EXPECT_NEAR(summary.at("latent").at("mean")[entry].get<double>(), means.mean().item<double>(), 1e-4);
    EXPECT_NEAR(summary.at("latent").at("std")[entry].get<double>(), std::sqrt(drawn), 1e-4);
  }
  EXPECT_EQ(summary.at("steps"), steps);
  EXPECT_EQ(summary.at("test_images"), test_rows);
  std::int64_t parameters = 0;
  for (const at::Tensor& parameter : program.parameters()) parameters += parameter.numel();
  EXPECT_EQ(summary.at("parameters"), parameters);
}

// Of every rank count the batches are those of one rank: rows, mirror images and noise.
TEST(AutoencoderStage, SeesTheSameBatchesAsOneRankAlone) {
  Training training;
  training.make();
  if (ranks().is_root()) {
    const RunDirectory alone(training.run.root().parent_path() / "alone");
    training.make(alone, *make_single_communicator());
  }
  ranks().barrier();
  const auto together = metrics_of(training.run.stage("autoencoder"));
  const auto alone = metrics_of(training.run.root().parent_path() / "alone" / "autoencoder");
  ASSERT_EQ(together.size(), alone.size());
  for (std::size_t step = 0; step < alone.size(); ++step) {
    EXPECT_EQ(together[step].at("digest"), alone[step].at("digest")) << step;
    EXPECT_NEAR(losses(together)[step], losses(alone)[step], 1e-4 * losses(alone)[step]) << step;
  }
}

TEST(AutoencoderStage, GoesOnFromACheckpointToTheSameBits) {
  Training training;
  training.make();
  const auto directory = training.run.stage("autoencoder");
  const std::string codec = read_file(training.run.autoencoder_codec());
  const NamedTensors weights = read_tensors(directory / "weights.safetensors");
  ranks().barrier();
  if (ranks().is_root()) {
    std::filesystem::remove_all(directory / "checkpoints" / "step-00000006");
    publish_file(directory / "checkpoints" / "latest", "step-00000004\n");
    std::filesystem::remove(training.run.autoencoder_codec());
  }
  ranks().barrier();
  training.make();
  expect_bit_equal(read_tensors(directory / "weights.safetensors"), weights);
  EXPECT_TRUE(read_file(training.run.autoencoder_codec()) == codec);
  const auto events = json_lines(directory / "events.jsonl");
  EXPECT_TRUE(std::ranges::any_of(
      events, [](const auto& event) { return event.at("event") == "resume" && event.at("step") == 4; }));
}

TEST(AutoencoderStage, WithoutDivergenceLatentsHaveNoDeviation) {
  Training training({{"autoencoder.kl", "0", ""}});
  training.make();
  EXPECT_EQ(training.summary().at("latent").at("deviation"), 0);
  torch::jit::Module program = torch::jit::load(training.run.autoencoder_codec().string());
  const at::Tensor latents = program.get_method("encode")({at::zeros({1, 3, 16, 16})}).toTensor();
  ASSERT_EQ(latents.size(1), 6);
  EXPECT_EQ(latents.narrow(1, 3, 3).abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace couplet
