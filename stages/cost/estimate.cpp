#include "stages/cost/estimate.h"

#include "method/couplings/coupling_table.h"
#include "pipeline/optimizer/schedule.h"
#include "pipeline/tensor/flops.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/trained/models.h"

#include <fmt/format.h>

#include <algorithm>

namespace couplet {

namespace {

constexpr double passes_a_gradient_of_the_image = 2;  // forward, and backward without the weights' gradients
constexpr double file_overhead = 1.02;                // of a shard: metadata and checksums
constexpr double usual_adaptive_evaluations = 50;     // of dopri5 at tolerances of 1e-5; not known beforehand
constexpr std::int64_t preview_nfe = 4, pictured_samples = 80;

double number(std::int64_t count) {
  return static_cast<double>(count);
}

double evaluations_of(const Integration& integration) {
  return integration.adaptive() ? usual_adaptive_evaluations : number(integration.nfe());
}

Flops in_precision(const std::string& precision, double flops) {
  return precision == "bfloat16" ? Flops{flops, 0} : Flops{0, flops};
}

Flops operator+(const Flops& a, const Flops& b) {
  return {a.bfloat16 + b.bfloat16, a.float32 + b.float32};
}

/// The models of a run, and one image's forward pass through each.
struct Models {
  Models(const Config& config, const DatasetShape& shape)
      : classifier(classifier_options(config.features, shape)),
        teacher(teacher_options(config.teacher, shape)),
        student(student_options(config.student, shape)),
        field(find_field(config.student.field)) {}
  ClassifierOptions classifier;
  TarFlowOptions teacher;
  FieldOptions student;
  const FieldKind& field;
  double scored() const { return forward_flops(classifier); }
  double inverted() const { return forward_flops(teacher); }
  double velocity() const { return field.forward_flops(student); }
};

class Estimator {
public:
  Estimator(const Config& config, const DatasetSize& dataset)
      : config_(config), dataset_(dataset), models_(config, dataset.shape) {}

  StageEstimate stage(const StageNode& node) const;
  DiskEstimate disk(const std::vector<StageNode>& graph) const;

private:
  std::int64_t coupling_rows() const;
  std::int64_t samples_trained(const TrainingConfig& training) const;
  /// Training on images, and validation at the intervals, of the raw and of the averaged weights.
  Flops training(const TrainingConfig& training, double forward) const;
  /// `sample`: one of a preview, in the precision of training.
  Flops previews(const PreviewConfig& preview, const TrainingConfig& training, double sample) const;
  /// One sample of the teacher, with guidance where it is asked for, and denoised.
  double teacher_sample(double guidance) const;
  bool denoises() const { return denoising_std(config_.teacher) > 0; }
  Flops couple() const;
  Flops evaluate_teacher() const;
  Flops evaluate_student(const CouplingKind& coupling) const;

  const Config& config_;
  const DatasetSize& dataset_;
  Models models_;
};

std::int64_t Estimator::coupling_rows() const {
  const CouplingRows rows{dataset_.train_rows, config_.couple.flips, config_.couple.replicates};
  return rows.rows() + dataset_.test_rows;
}

std::int64_t Estimator::samples_trained(const TrainingConfig& training) const {
  return training_steps(training) * training.batch;
}

Flops Estimator::training(const TrainingConfig& training, double forward) const {
  const std::int64_t steps = training_steps(training), every = training.validate_every;
  const std::int64_t validations = every > 0 ? (steps + every - 1) / every : 1;  // and at the end
  const std::int64_t rows =
      training.validate_rows > 0 ? std::min(training.validate_rows, dataset_.test_rows) : dataset_.test_rows;
  return in_precision(training.precision,
                      forward_passes_a_training_image * forward * number(samples_trained(training))) +
         Flops{0, 2 * forward * number(validations * rows)};
}

Flops Estimator::previews(const PreviewConfig& preview, const TrainingConfig& training, double sample) const {
  if (preview.every <= 0) return {};
  const double samples =
      number(training_steps(training) / preview.every * (preview.samples > 0 ? preview.samples : pictured_samples));
  const Flops scores{0, preview.samples > 0 ? models_.scored() * samples : 0};
  return in_precision(training.precision, sample * samples) + scores;
}

// The inverse computes what a forward pass does, one token after the other, once more for each row without label.
double Estimator::teacher_sample(double guidance) const {
  const double denoised = denoises() ? passes_a_gradient_of_the_image : 0;
  return models_.inverted() * ((guidance > 0 ? 2 : 1) + denoised);
}

Flops Estimator::couple() const {
  const double rows = number(coupling_rows());
  return in_precision(config_.couple.precision, models_.inverted() * rows) +
         Flops{0, models_.inverted() * config_.couple.round_trip * rows};
}

Flops Estimator::evaluate_teacher() const {
  const EvaluateConfig& evaluate = config_.evaluate;
  const double samples = number(evaluate.samples * std::ssize(evaluate.sampling_seeds));
  const double variants = denoises() ? 2 : 1;
  return in_precision(evaluate.precision, teacher_sample(evaluate.teacher_guidance) * samples) +
         Flops{0, models_.scored() * (number(dataset_.test_rows) + variants * samples) +
                      models_.inverted() * number(evaluate.likelihood_rows)};
}

Flops Estimator::evaluate_student(const CouplingKind& coupling) const {
  const EvaluateConfig& evaluate = config_.evaluate;
  double evaluations = number(evaluate.curvature_samples * evaluate.curvature_steps), scored = 0;
  for (const Sampling& sampling : samplings(evaluate, coupling)) {
    const double samples = number(sampling.table ? std::min(evaluate.samples, dataset_.test_rows) : evaluate.samples);
    evaluations += samples * evaluations_of(sampling.integration);
    scored += samples;
  }
  const double pairs = number(evaluate.pairing_rows);
  const double compared = coupling.table_of_teacher ? pairs : 0;  // with the teacher's samples of the same noise
  evaluations += (2 * pairs + compared) * number(evaluate.pairing_nfe);
  const double guided = evaluate.guidance == 1 ? 1 : 2;
  const double traces = passes_a_gradient_of_the_image * number(evaluate.likelihood_probes);
  const double likelihood = number(evaluate.likelihood_rows) * usual_adaptive_evaluations * (1 + traces);
  return in_precision(evaluate.precision, models_.velocity() * evaluations * guided) +
         Flops{0, models_.velocity() * likelihood + models_.scored() * scored + teacher_sample(0) * compared};
}

StageEstimate Estimator::stage(const StageNode& node) const {
  StageEstimate stage{node.name, node.kind, "", {}};
  const auto trains = [&](const TrainingConfig& training, double forward) {
    stage.work = fmt::format("{} steps of {}", training_steps(training), training.batch);
    stage.flops = this->training(training, forward);
  };
  if (node.kind == "features") {
    trains(config_.features.training, models_.scored());
    stage.flops.float32 += models_.scored() * number(dataset_.train_rows + dataset_.test_rows);
  } else if (node.kind == "teacher") {
    trains(config_.teacher.training, models_.inverted());
    stage.flops = stage.flops + previews(config_.teacher.preview, config_.teacher.training, teacher_sample(0)) +
                  Flops{0, models_.inverted() * number(dataset_.test_rows)};
  } else if (node.kind == "couple") {
    stage.work = fmt::format("{} rows", coupling_rows());
    stage.flops = couple();
  } else if (node.kind == "student") {
    trains(config_.student.training, models_.velocity());
    stage.flops = stage.flops +
                  previews(config_.student.preview, config_.student.training, models_.velocity() * number(preview_nfe));
  } else if (node.kind == "evaluate") {
    stage.work = fmt::format("{} samples", config_.evaluate.samples);
    stage.flops =
        node.coupling.empty() ? evaluate_teacher() : evaluate_student(student_coupling(config_.student, node.coupling));
  } else if (node.kind == "prepare") {
    stage.work = fmt::format("{} images", dataset_.train_rows + dataset_.test_rows);
  }
  return stage;
}

/// Bytes of a row of a table.
double row_bytes(const std::vector<Column>& columns) {
  double bytes = 0;
  for (const Column& column : columns) bytes += static_cast<double>(column.row_bytes());
  return bytes;
}

DiskEstimate Estimator::disk(const std::vector<StageNode>& graph) const {
  DiskEstimate disk;
  const auto values = dataset_.shape.channels * dataset_.shape.size * dataset_.shape.size;
  disk.dataset = file_overhead * number(dataset_.train_rows + dataset_.test_rows) * number(values + 4);
  const auto columns = coupling_columns(dataset_.shape, parse_element_type(config_.couple.noise_type));
  disk.coupling = file_overhead * number(coupling_rows()) * row_bytes(columns);
  const auto add = [&](const TrainingConfig& training, std::int64_t parameters) {
    const double copy = 4 * number(parameters);  // float32
    const double emas = number(static_cast<std::int64_t>(training.ema.size()));
    disk.weights += copy * (1 + emas);
    // Those kept, the best one, and the one that is being written: weights, averages and AdamW's two moments.
    disk.checkpoints += copy * (1 + emas + 2) * number(config_.pipeline.keep_checkpoints + 2);
  };
  for (const StageNode& node : graph) {
    if (node.kind == "features") add(config_.features.training, parameter_count(models_.classifier));
    if (node.kind == "teacher") add(config_.teacher.training, parameter_count(models_.teacher));
    if (node.kind == "student") add(config_.student.training, models_.field.parameter_count(models_.student));
  }
  return disk;
}

}  // namespace

Estimate estimate_run(const Config& config, const DatasetSize& dataset) {
  const Estimator estimator(config, dataset);
  const auto graph = stage_graph(config);
  Estimate estimate;
  for (const StageNode& node : graph) estimate.stages.push_back(estimator.stage(node));
  estimate.disk = estimator.disk(graph);
  return estimate;
}

}  // namespace couplet
