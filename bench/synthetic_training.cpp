#include "bench/synthetic_training.h"

#include "method/data/images.h"
#include "stages/trained/models.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <numeric>

namespace couplet {
namespace {

/// Positions of a batch's rows in the run.
std::vector<std::int64_t> positions_of(const BatchRange& range) {
  std::vector<std::int64_t> positions(static_cast<std::size_t>(range.rows));
  std::iota(positions.begin(), positions.end(), range.first);
  return positions;
}

at::Tensor rows_at(const std::vector<std::int64_t>& positions, std::int64_t count) {
  return at::tensor(positions, at::kLong).remainder(count);
}

at::Tensor dropped(const at::Tensor& labels, const std::vector<std::int64_t>& positions, std::uint64_t seed,
                   double rate, std::int64_t none) {
  at::Tensor kept = labels.clone();
  auto* label = kept.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const auto index = static_cast<std::uint64_t>(positions[i]);
    if (Draws(seed, Purpose::label_drop, index).uniform() < rate) label[i] = none;
  }
  return kept;
}

at::Tensor drawn_times(const std::vector<std::int64_t>& positions, std::uint64_t seed, const Objective& objective) {
  at::Tensor times = at::empty({static_cast<std::int64_t>(positions.size())}, at::kFloat);
  auto* time = times.data_ptr<float>();
  for (std::size_t i = 0; i < positions.size(); ++i) {
    Draws draws(seed, Purpose::time, static_cast<std::uint64_t>(positions[i]));
    time[i] = static_cast<float>(objective.draw_time(draws));
  }
  return times;
}

SyntheticTraining teacher(const Config& config, const SyntheticRows& rows) {
  TarFlow model = make_tarflow(teacher_options(config.teacher, rows.shape), 1);
  TrainingTask task;
  task.training = config.teacher.training;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  task.batch = [=, codec = rows.shape.codec, drop = config.teacher.label_drop,
                noise = teacher_noise(config.teacher)](const BatchRange& range) {
    const auto positions = positions_of(range);
    const auto index = rows_at(positions, rows.images.size(0));
    return Batch{
        noised_rows(rows.images.index_select(0, index), *codec, noise, seed, Purpose::teacher_noise, positions),
        dropped(rows.labels.index_select(0, index), positions, seed, drop, -1)};
  };
  task.loss = [model](const Batch& batch) mutable { return model->loss(model->forward(batch[0], batch[1])); };
  return {model.ptr(), task};
}

SyntheticTraining student(const Config& config, const SyntheticRows& rows) {
  const StudentModel model{find_field(config.student.field).make(student_options(config.student, rows.shape), 1),
                           student_objective(config.student)};
  TrainingTask task;
  task.training = config.student.training;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  task.batch = [=, student = config.student](const BatchRange& range) {
    const auto positions = positions_of(range);
    const auto index = rows_at(positions, rows.images.size(0));
    return Batch{
        rows.shape.codec->encode(rows.images.index_select(0, index)), rows.noise.index_select(0, index).to(at::kFloat),
        drawn_times(positions, seed, *model.objective),
        dropped(rows.labels.index_select(0, index), positions, seed, student.label_drop, model.field->no_label())};
  };
  task.loss = [model](const Batch& b) { return model.objective->loss(*model.field, b[0], b[1], b[2], {b[3], {}}); };
  return {model.field, task};
}

SyntheticTraining features(const Config& config, const SyntheticRows& rows) {
  Classifier model = make_classifier(classifier_options(config.features, rows.shape), 1);
  TrainingTask task;
  task.training = config.features.training;
  task.batch = [=](const BatchRange& range) {
    const auto index = rows_at(positions_of(range), rows.images.size(0));
    return Batch{rows.shape.codec->encode(rows.images.index_select(0, index)), rows.labels.index_select(0, index)};
  };
  task.loss = [model](const Batch& batch) mutable {
    return at::cross_entropy_loss(model->forward(batch[0]), batch[1]);
  };
  return {model.ptr(), task};
}

}  // namespace

SyntheticRows synthetic_rows(std::int64_t count, std::int64_t size) {
  constexpr std::int64_t classes = 10, coarse = 7;
  at::manual_seed(0);
  const at::Tensor shades = at::upsample_bilinear2d(at::rand({count, 1, coarse, coarse}), {size, size}, false);
  return {{1, size, classes, {}},
          (shades * 255).round().to(at::kByte),
          at::randn({count, 1, size, size}).to(at::kHalf),
          at::arange(count).remainder(classes)};
}

SyntheticTraining synthetic_training(const std::string& stage, const Config& config, const SyntheticRows& rows,
                                     const std::filesystem::path& directory) {
  if (stage != "teacher" && stage != "student" && stage != "features") refuse("there is no training of a {}", stage);
  SyntheticTraining training = stage == "teacher"   ? teacher(config, rows)
                               : stage == "student" ? student(config, rows)
                                                    : features(config, rows);
  training.task.name = stage;
  training.task.directory = directory;
  training.task.provenance = {{"rows", "synthetic"}};
  return training;
}

}  // namespace couplet
