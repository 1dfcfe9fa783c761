// Previews of a model in training, on any number of ranks.
#include "stages/trained/preview.h"

#include "method/data/noise.h"
#include "method/models/classifier.h"
#include "pipeline/config/options.h"
#include "pipeline/run/stage_record.h"
#include "stages/trained/models.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <numeric>
#include <string>
#include <vector>

namespace couplet {
namespace {

const DatasetShape shape{1, 8, 2, {50, 50}};

struct Training {
  SharedDirectory folder;
  RunDirectory run{folder / "run"};
  Config config = resolve_config("", {{"pipeline.seed", "3", ""},
                                      {"evaluate.sampling-seeds", "7 8", ""},
                                      {"features.channels", "2", ""},
                                      {"features.dimension", "4", ""}});
  StageGraph graph{{.name = "features", .kind = "features", .fingerprint = "f"},
                   {.name = "teacher", .kind = "teacher"}};
  StageContext context{graph[1], graph, config, run, ranks(), c10::Device(c10::kCPU)};

  /// What the features stage leaves, of so many training images.
  void complete_features(std::int64_t images = 8) const {
    if (ranks().is_root()) {
      Classifier classifier = make_classifier(classifier_options(config.features, shape), 1);
      std::filesystem::create_directories(run.stage("features"));
      publish_tensors(run.classifier(), named_tensors(*classifier));
      const at::NoGradGuard no_grad;
      Moments moments(4);
      std::vector<std::int64_t> rows(static_cast<std::size_t>(images));
      std::iota(rows.begin(), rows.end(), 0);
      moments.add(classifier->features(normal_rows({1, 8, 8}, 1, Purpose::evaluation_noise, rows)));
      save_moments(run.reference_statistics(), moments);
      StageRecord record;
      record.state = StageState::complete;
      record.stage = "features";
      record.fingerprint = "f";
      publish_record(run.stage("features"), record);
    }
    ranks().barrier();
  }
};

// 10a555e looked once, before training: under Slurm, where the two stages run side by side, there was never a score.
TEST(Preview, IsScoredAsSoonAsThereAreFeatures) {
  const Training training;
  Previewer previewer(training.context, shape, {.every = 1, .samples = 250},
                      [](const InitialNoise& initial) { return initial.z * 0.3; });
  const Preview before = previewer.make();
  EXPECT_FALSE(before.figures.contains("quick_frechet_distance"));
  EXPECT_EQ(before.picture.has_value(), ranks().is_root());
  training.complete_features();
  const Preview after = previewer.make();
  ASSERT_TRUE(after.figures.contains("quick_frechet_distance"));
  EXPECT_TRUE(after.figures.contains("quick_class_accuracy"));
  if (ranks().is_root()) {
    EXPECT_EQ(after.picture->pixels, before.picture->pixels);
  }
}

// 10a555e ended the training there.
TEST(Preview, IsNotScoredAgainstTooFewTrainingImages) {
  const Training training;
  training.complete_features(4);  // of 4 features
  Previewer previewer(training.context, shape, {.every = 1, .samples = 250},
                      [](const InitialNoise& initial) { return initial.z * 0.3; });
  EXPECT_FALSE(previewer.make().figures.contains("quick_frechet_distance"));
}

// 10a555e took the run's seed, which is none of an evaluation's.
TEST(Preview, StartsFromTheNoiseOfTheFirstSamplingSeed) {
  const Training training;
  Previewer previewer(training.context, shape, {.every = 1, .samples = 0}, [](const InitialNoise& initial) {
    const at::Tensor all = fresh_noise(shape, 7, 0, previewed_samples).z.flatten(1).contiguous();
    const at::Tensor given = initial.z.flatten(1).contiguous();
    for (std::int64_t row = 0; row < given.size(0); ++row)
      EXPECT_TRUE(all.eq(given[row]).all(1).any().item<bool>()) << row;
    return initial.z;
  });
  previewer.make();
}

TEST(Preview, TellsTheTrainerWhatItsRowsTake) {
  Training training;
  training.config.evaluate.rows_at_once = 5;
  std::int64_t made = 0;
  Previewer previewer(training.context, shape, {.every = 9, .samples = 0}, [&](const InitialNoise& initial) {
    made = initial.z.size(0);
    return initial.z;
  });
  TrainingTask task;
  previewer.give_to(task);
  EXPECT_EQ(task.preview_every, 9);
  EXPECT_EQ(task.rows_at_once, 5);
  task.sample_rows.make(2);
  EXPECT_EQ(made, 2);
  EXPECT_GE(task.sample_rows.on_host, 1);
  EXPECT_LE(task.sample_rows.on_host, 20) << "rows of a slice";
}

}  // namespace
}  // namespace couplet
