#include "stages/trained/sampler.h"

#include "method/couplings/coupling.h"
#include "method/data/dataset.h"
#include "method/data/image_set.h"
#include "method/sampling/teacher_sampler.h"
#include "pipeline/config/options.h"
#include "pipeline/run/stage_record.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace couplet {
namespace {

void require_labels(const LabelChoice& labels, const DatasetShape& shape) {
  for (const std::int64_t label : labels.classes) {
    if (label >= 0 && label < shape.labels()) continue;
    if (!shape.has_classes()) refuse("label {}: the data set has no classes to choose from; leave --labels out", label);
    refuse("label {}: the data set has classes 0 to {}", label, shape.labels() - 1);
  }
}

}  // namespace

Sampler::Sampler(const RunView& view, const SampleRequest& request, c10::Device device, Communicator& communicator)
    : request_(request), device_(device) {
  const StageNode node = trained_model(view, request.model);
  shape_ = dataset_shape(RowTable(seen_rows(view.config, view.run, "train"), dataset_format));
  require_labels(request.labels, shape_);
  open_low_resolution(node);
  maker_ = node.kind == "teacher" ? teacher_maker(view, node, communicator) : student_maker(view, node, communicator);
}

at::Tensor Sampler::labels(std::int64_t first, std::int64_t count) const {
  if (!labelled_) return at::full({count}, no_label_, at::kLong);
  if (request_.labels.as_data) return fresh_noise(shape_, request_.seed, first, count).condition.labels;
  const at::Tensor samples = at::arange(first, first + count, at::kLong);
  if (request_.labels.classes.empty() && low_pixels_.defined()) return at::full_like(samples, no_label_);
  if (request_.labels.classes.empty()) return samples.remainder(shape_.labels());
  const at::Tensor classes = at::tensor(request_.labels.classes, at::kLong);
  return classes.index_select(0, samples.remainder(classes.size(0)));
}

Integrated Sampler::make(std::int64_t first, std::int64_t count) const {
  const at::NoGradGuard no_grad;
  InitialNoise initial = fresh_noise(shape_, request_.seed, first, count);
  const at::Tensor asked = labels(first, count);
  if (request_.candidates > 1) {
    // Noise has a class even where the student is told none: that which evaluations ask for.
    initial.condition.labels = at::where(asked < shape_.labels(), asked, initial.condition.labels);
    initial = with_candidates(std::move(initial), request_.candidates, request_.seed, first, log_ratio_);
  }
  initial.condition.labels = asked;
  if (low_pixels_.defined()) {
    const at::Tensor rows = at::arange(first, first + count, at::kLong).remainder(low_pixels_.size(0));
    initial.condition = shape_.condition_of_low(low_pixels_.index_select(0, rows), initial.condition.labels);
  }
  return maker_(first, initial.to(device_));
}

void Sampler::open_low_resolution(const StageNode& node) {
  const LowResolution& low = shape_.low_resolution;
  const bool restores = low.is_given() && node.kind == "student";
  const std::string path = request_.low_resolution.string();
  if (!restores && !path.empty())
    refuse("--low-resolution {}: {} restores no images: {}", path, request_.model,
           low.is_given() ? "the teacher is given no low resolution" : "the run has prepare.condition = none");
  if (!restores) return;
  const std::int64_t side = shape_.size / low.factor;
  const std::string wanted = fmt::format("{} x {} x {}", shape_.channels, side, side);
  if (path.empty())
    refuse(
        "{} restores images from their low resolution: give images of {} (channels, height, width) by "
        "--low-resolution",
        request_.model, wanted);
  const std::unique_ptr<ImageSet> images = open_image_set(request_.low_resolution);
  const ImageSetShape& found = images->shape();
  if (found.image_text() != wanted)
    refuse(
        "--low-resolution {}: images of {}, expected {} (channels, height, width), those of the data set divided by "
        "prepare.factor = {}",
        path, found.image_text(), wanted, low.factor);
  low_pixels_ = images->read(0, std::min(found.images, request_.count));
}

std::filesystem::path Sampler::weights(const RunView& view, const StageNode& node,
                                       const TrainingConfig& training) const {
  return weights_file(view.run.stage(node.name), training.ema, request_.ema.value_or(training.ema.front()));
}

Sampler::Maker Sampler::student_maker(const RunView& view, const StageNode& node, Communicator& communicator) {
  check(request_.guidance);
  const StudentConfig config = student_config(view.config, node.student);
  if (is_one_step(config)) {
    if (request_.says_steps)
      refuse("{} makes a sample in one step, and {} is asked for: leave --solver, --nfe, --grid and --times out",
             request_.model, request_.integration.text());
    request_.integration = fixed_integration(Solver::euler, Grid::uniform, 1);
  }
  if (request_.integration.stochastic && !has_score(config))
    refuse(
        "{} has student.objective = {} and student.coupling = {}, which give no score: {} cannot sample it; take a "
        "solver that adds no noise",
        request_.model, objective_name(config), config.coupling, request_.integration.name());
  if (request_.integration.stochastic && request_.temperature != 1)
    refuse("--temperature {}: {} adds noise as from temperature 1 on; take a solver that adds none",
           request_.temperature, request_.integration.name());
  if (find_coupling(config.coupling).source && request_.temperature != 1)
    refuse("--temperature {}: {} has student.coupling = {}, whose samples start from a source of its own",
           request_.temperature, request_.model, config.coupling);
  if (student_objective(config)->path().prior_scale() == 0 && request_.temperature != 1)
    refuse("--temperature {}: {} has student.objective = {}, whose samples start from no noise", request_.temperature,
           request_.model, config.objective);
  if (request_.candidates > 1 && request_.temperature != 1)
    refuse("--candidates {} with --temperature {}: candidates are chosen as noise of temperature 1; give one of them",
           request_.candidates, request_.temperature);
  const StudentModel model = load_student(weights(view, node, config.training), config, shape_, device_, communicator);
  labelled_ = model.labelled;
  no_label_ = model.field->no_label();
  if (!labelled_ && !request_.labels.classes.empty())
    refuse("--labels: {} knows none, for it was trained with student.label-drop = 1", request_.model);
  if (request_.candidates > 1) choose_among_candidates(view, node, communicator);
  const StudentFlow flow(model, request_.guidance, view.config.evaluate.precision, request_.temperature);
  return [flow, integration = request_.integration, seed = request_.seed](std::int64_t first,
                                                                          const InitialNoise& initial) {
    return integrate(flow.velocity(initial.condition), flow.start(initial.z, initial.condition), integration,
                     flow.along(solver_noise(initial.z, seed, first)));
  };
}

void Sampler::choose_among_candidates(const RunView& view, const StageNode& node, Communicator& communicator) {
  const auto table = table_of_student(view.config, node.student);
  if (!table || !table->has_noise)
    refuse("--candidates {}: {} reads no table of noise, by whose density one of several noises would be chosen",
           request_.candidates, request_.model);
  const std::string stage = "noise-classifier/" + table->name;
  const auto record = read_record(view.run.stage(stage));
  if (!record || record->state != StageState::complete)
    refuse(
        "--candidates {}: {} has no finished stage {}, which chooses among them; set evaluate.noise-classifier = true, "
        "and run it",
        request_.candidates, view.run.root().string(), stage);
  log_ratio_ = log_ratio_of(
      load_noise_classifier(view.run, table->name, view.config.noise_classifier, shape_, device_, communicator),
      device_);
}

Sampler::Maker Sampler::teacher_maker(const RunView& view, const StageNode& node, Communicator& communicator) const {
  const TeacherConfig& config = view.config.teacher;
  if (!request_.denoise && denoising_std(config) == 0)
    refuse("the teacher of {} has no denoising step to leave out: it was trained without Gaussian noise",
           view.run.root().string());
  const TeacherSampling sampling{request_.teacher, request_.denoise ? teacher_noise(config) : ImageNoise{},
                                 view.config.evaluate.precision};
  TarFlow model = load_teacher(weights(view, node, config.training), config, shape_, device_, communicator);
  return [sampling, teacher = std::move(model)](std::int64_t, const InitialNoise& initial) mutable {
    return Integrated{sample_teacher(teacher, initial.z, initial.condition, sampling).images()};
  };
}

}  // namespace couplet
