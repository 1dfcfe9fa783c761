#include "stages/trained/preview.h"

#include "method/data/images.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/run/stage_record.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t picture_columns = 10, restoration_columns = 9;
constexpr std::int64_t rows_a_thread = 16;  // by_row_chunks
constexpr char never_stopped[] = "";

/// As rank 0 sees it: another job may complete the stage at this moment. Collective.
bool features_are_complete(const StageContext& context) {
  bool complete = false;
  if (context.communicator.is_root()) {
    const StageNode* features = look_for_node(context.graph, "features");
    const auto record = features == nullptr ? std::nullopt : read_record(context.run.stage(features->name));
    complete = record && record->state == StageState::complete && record->fingerprint == features->fingerprint;
  }
  return context.communicator.maximum(complete ? 1 : 0) != 0;
}

}  // namespace

Previewer::Previewer(const StageContext& context, const DatasetShape& shape, const PreviewConfig& config,
                     SampleMaker sample)
    : context_(context),
      shape_(shape),
      config_(config),
      sample_(std::move(sample)),
      seed_(static_cast<std::uint64_t>(context.config.evaluate.sampling_seeds.front())) {
  if (shape.low_resolution.is_given())
    held_out_.emplace(seen_rows(context.config, context.run, "test"), dataset_format);
}

void Previewer::give_to(TrainingTask& task) {
  task.preview = [this] { return make(); };
  task.preview_every = config_.every;
  task.rows_at_once = context_.config.evaluate.rows_at_once;
  const std::int64_t slice = config_.samples > 0 ? scored_slice_rows : pictured_slice_rows;
  task.sample_rows = {[this](std::int64_t rows) { sample_(initial_noise(0, rows)); },
                      std::min(slice, rows_a_thread * at::get_num_threads())};
}

void Previewer::say_once(const std::string& why) {
  if (said_ != why) say("samples get no quick score: {}", why);
  said_ = why;
}

void Previewer::prepare_scores() {
  if (!features_are_complete(context_)) return say_once("the features stage is not complete");
  Moments reference = load_moments(context_.run.reference_statistics());
  if (config_.samples <= reference.dimension())
    return say_once(fmt::format("{} samples are too few for {} features", config_.samples, reference.dimension()));
  if (reference.count <= reference.dimension())
    return say_once(fmt::format("{} training images are too few for {} features (features.dimension)", reference.count,
                                reference.dimension()));
  ScorerReference basis{.widths = {.features = reference.dimension()},
                        .reference = FeatureReference{std::move(reference)}};
  scorer_.emplace(
      load_classifier(context_.run, context_.config.features, shape_, context_.device, context_.communicator),
      shape_.codec, std::move(basis), scored_slice_rows, previewed_samples, never_stopped, context_.communicator,
      context_.device);
}

Preview Previewer::make() {
  if (config_.samples > 0 && !scorer_) prepare_scores();
  Preview preview;
  at::Tensor made;
  if (scorer_) {
    const SampleScore score = scorer_->score(
        [&](std::int64_t first, std::int64_t count) {
          const InitialNoise initial = initial_noise(first, count);
          return Generated{{sample_(initial)}, initial.condition.labels};
        },
        1, config_.samples)[0];
    preview.figures = {{"quick_frechet_distance", score.frechet_distance},
                       {"quick_class_accuracy", score.class_accuracy.value()}};
    if (score.nonfinite > 0) preview.figures["quick_nonfinite_samples"] = score.nonfinite;
    made = score.pictures;
  } else {
    made = pictures();
  }
  if (context_.communicator.is_root()) preview.picture = picture(made);
  return preview;
}

InitialNoise Previewer::initial_noise(std::int64_t first, std::int64_t count) const {
  return held_out_ ? student_noise(shape_, *held_out_, seed_, first, count) : fresh_noise(shape_, seed_, first, count);
}

Picture Previewer::picture(const at::Tensor& made) const {
  if (!held_out_) return picture_of(made, picture_columns);
  const std::int64_t count = std::min(made.size(0), held_out_->rows());
  const at::Tensor images = shape_.codec->pixels(read_rows(*held_out_, "image", 0, count));
  return picture_of(restoration_panels(made.narrow(0, 0, count), images, shape_.low_resolution), restoration_columns);
}

/// Pixels, uint8 [previewed_samples, C, H, W].
at::Tensor Previewer::pictures() {
  const std::vector<std::int64_t> pixels = shape_.pixel_shape();
  std::vector<at::Tensor> parts;
  for_each_slice(
      context_.communicator,
      {.rows = previewed_samples,
       .slice_rows = pictured_slice_rows,
       .columns = pixels[0] * pixels[1] * pixels[2],
       .stopped = never_stopped},
      [&](std::int64_t first) {
        return shape_.codec->decode(sample_(initial_noise(first, pictured_slice_rows))).flatten(1).cpu();
      },
      [&](const at::Tensor& values) { parts.push_back(values.to(at::kByte)); });
  return at::cat(parts).view({-1, pixels[0], pixels[1], pixels[2]});
}

}  // namespace couplet
