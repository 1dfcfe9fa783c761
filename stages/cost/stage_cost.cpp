#include "stages/cost/stage_cost.h"

#include "method/couplings/coupling.h"
#include "method/gaussianisation/gaussian_map.h"
#include "method/statistics/noise_models.h"
#include "method/tables/coupling_table.h"
#include "method/tables/seeds_table.h"
#include "pipeline/config/options.h"
#include "pipeline/optimizer/schedule.h"
#include "pipeline/tensor/flops.h"
#include "stages/couple/table_makers.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/evaluate/solver_errors.h"
#include "stages/trained/alignment.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"
#include "stages/trained/preview.h"
#include "storage/tables/row_shard_layout.h"

#include <fmt/format.h>

#include <algorithm>

namespace couplet {

namespace {

constexpr double passes_a_gradient_of_the_image = 2;  // forward, and backward without the weights' gradients
constexpr double passes_a_trace = 1;                  // backward without the weights' gradients, the forward pass made
constexpr double usual_noises_an_image = 100;         // that semidiscrete potentials are learnt from
constexpr double usual_adaptive_evaluations = 50;     // of dopri5 at tolerances of 1e-5; not known beforehand

double evaluations_of(const Integration& integration) {
  return integration.adaptive() ? usual_adaptive_evaluations : as_double(integration.nfe());
}

Flops in_precision(const std::string& precision, double flops) {
  return precision == "bfloat16" ? Flops{flops, 0} : Flops{0, flops};
}

// One image's forward pass.
double scored(const CostModel& model) {
  return forward_flops(classifier_options(model.config.features, model.dataset.shape));
}
double inverted(const CostModel& model) {
  return forward_flops(teacher_options(model.config.teacher, model.dataset.shape));
}
std::int64_t values_of(const CostModel& model) {
  const DatasetShape& shape = model.dataset.shape;
  return shape.channels * shape.size * shape.size;
}
double velocity(const StudentConfig& student, const CostModel& model) {
  return find_field(student.field).forward_flops(student_options(student, model.dataset.shape));
}

/// Images that the classifier scores cost something where there is one.
double scored_or_nothing(const CostModel& model) {
  return look_for_node(model.graph, "features") != nullptr ? scored(model) : 0;
}

std::int64_t table_rows(const CoupleConfig& config, const CostModel& model) {
  const CouplingRows rows{model.dataset.train_rows, config.flips, config.replicates};
  return rows.rows() + model.dataset.test_rows;
}

/// Forward passes' worth of work for an image.
struct Passes {
  double training = forward_passes_a_training_image, validation = 1;
};

/// Training on images, and validation at the intervals, of the raw and of the averaged weights.
Flops training_flops(const TrainingConfig& training, double forward, const CostModel& model, const Passes& passes) {
  const std::int64_t steps = training_steps(training), every = training.validate_every;
  const std::int64_t validations = every > 0 ? (steps + every - 1) / every : 1;  // and at the end
  const std::int64_t test_rows = model.dataset.test_rows;
  const std::int64_t rows = training.validate_rows > 0 ? std::min(training.validate_rows, test_rows) : test_rows;
  return in_precision(training.precision, passes.training * forward * as_double(steps * training.batch)) +
         Flops{0, 2 * passes.validation * forward * as_double(validations * rows)};
}

/// `sample`: one of a preview, in the precision of training.
Flops preview_flops(const PreviewConfig& preview, const TrainingConfig& training, double sample,
                    const CostModel& model) {
  if (preview.every <= 0) return {};
  const bool scored = is_scored(preview, model);
  const double samples =
      as_double(training_steps(training) / preview.every * (scored ? preview.samples : previewed_samples));
  const Flops scores{0, scored ? scored_or_nothing(model) * samples : 0};
  return in_precision(training.precision, sample * samples) + scores;
}

/// One sample of the teacher. The inverse computes what a forward pass does, one token after the other, once more for
/// each row without label; then it denoises.
double teacher_sample(double guidance, const CostModel& model) {
  const double denoised = denoising_std(model.config.teacher) > 0 ? passes_a_gradient_of_the_image : 0;
  return inverted(model) * ((guidance > 0 ? 2 : 1) + denoised);
}

StageCost training_cost(const StageNode& node, const TrainingConfig& training, double forward, std::int64_t parameters,
                        const CostModel& model, const Passes& passes = {}) {
  StageCost cost{node.name,
                 node.kind,
                 fmt::format("{} steps of {}", training_steps(training), training.batch),
                 training_flops(training, forward, model, passes),
                 {}};
  cost.parameters = parameters;
  const double copy = 4 * as_double(parameters);  // float32
  const double emas = as_double(std::ssize(training.ema));
  cost.disk.weights = copy * (1 + emas);
  // Those kept, the best one, and the one that is being written: weights, averages and AdamW's two moments.
  cost.disk.checkpoints = copy * (1 + emas + 2) * as_double(model.config.pipeline.keep_checkpoints + 2);
  return cost;
}

/// Bytes of a row of a table.
double row_bytes(const std::vector<Column>& columns) {
  double bytes = 0;
  for (const Column& column : columns) bytes += static_cast<double>(column.stored_bytes());
  return bytes;
}

Flops evaluate_teacher(const CostModel& model) {
  const EvaluateConfig& evaluate = model.config.evaluate;
  const double samples = as_double(evaluate.samples * std::ssize(evaluate.sampling_seeds));
  const double variants = denoising_std(model.config.teacher) > 0 ? 2 : 1;
  return in_precision(evaluate.precision, teacher_sample(evaluate.teacher_guidance, model) * samples) +
         Flops{0,
               scored_or_nothing(model) * variants * samples + inverted(model) * as_double(evaluate.likelihood_rows)};
}

Flops evaluate_student(const StageNode& node, const CostModel& model) {
  const EvaluateConfig& evaluate = model.config.evaluate;
  const StudentConfig student = student_config(model.config, node.student);
  const CouplingKind& coupling = find_coupling(student.coupling);
  const bool one_step = is_one_step(student);
  double evaluations = one_step ? 0 : as_double(evaluate.curvature_samples * evaluate.curvature_steps), scores = 0,
         candidates = 0;
  if (evaluate.guidance.front() != 1) evaluations *= 2;  // a guided evaluation is one of twice the rows
  const auto own = table_of_student(model.config, node.student);
  const bool has_noise = own && own->has_noise;
  for (const SamplingSetting& sampling : sampling_settings(evaluate, student, has_noise ? own->name : "", has_noise)) {
    const double samples =
        as_double(sampling.table.empty() ? evaluate.samples : std::min(evaluate.samples, model.dataset.test_rows));
    evaluations += samples * evaluations_of(sampling.integration) * (sampling.field.guidance.scale == 1 ? 1 : 2);
    scores += samples;
    if (sampling.candidates > 1) candidates += samples * as_double(sampling.candidates);
  }
  const double pairs = as_double(evaluate.pairing_rows);
  const double tables = as_double(std::ranges::count_if(run_tables(model.config), &RunTable::is_of_images));
  const DatasetShape& shape = model.dataset.shape;
  // With the teacher's samples of the same noise; it is given no condition.
  const double compared = has_noise_of_teacher(student) && !shape.low_resolution.is_given() ? pairs : 0;
  evaluations += (2 * tables * pairs + compared) * (one_step ? 1 : as_double(evaluate.pairing_nfe)) *
                 (evaluate.guidance.front() == 1 ? 1 : 2);
  const double references = as_double(reference_integration().nfe());
  evaluations += as_double(one_step ? 0 : evaluate.tolerance_samples) *
                 (references + usual_adaptive_evaluations * as_double(std::ssize(evaluate.tolerances))) *
                 (evaluate.guidance.front() == 1 ? 1 : 2);
  const double traces = as_double(evaluate.likelihood_probes > 0 ? evaluate.likelihood_probes : values_of(model));
  const bool has_density = !coupling.source && !one_step;
  const std::int64_t draws = shape.codec && shape.codec->levels() == 0 ? 1 : evaluate.likelihood_samples;
  const double likelihood = has_density ? as_double(evaluate.likelihood_rows * draws) * usual_adaptive_evaluations *
                                              (1 + passes_a_trace * traces)
                                        : 0;
  const double forward = velocity(student, model);
  return in_precision(evaluate.precision, forward * evaluations) +
         Flops{0, forward * likelihood + scored_or_nothing(model) * scores +
                      candidates * forward_flops(noise_classifier_options(model.config.noise_classifier, shape)) +
                      (compared > 0 ? teacher_sample(0, model) * compared : 0)};
}

/// Covariances of the noise, and rows turned into their axes, twice each: over all classes and by class.
StageCost measured_noise_cost(const StageNode& node, const CostModel& model) {
  const CoupleConfig couple = couple_config(model.config, node.measured);
  const std::int64_t most = model.config.evaluate.gap_rows, held_out = model.dataset.test_rows;
  const std::int64_t trained = table_rows(couple, model) - held_out;
  const auto measured = [&](std::int64_t rows) { return as_double(most > 0 ? std::min(most, rows) : rows); };
  const std::int64_t d = values_of(model);
  StageCost cost{node.name, node.kind, fmt::format("{:.0f} rows", measured(trained) + measured(held_out)), {}, {}};
  if (d <= most_fitted_values)
    cost.flops.float32 = product_flops(1, d, d) * (3 * measured(trained) + 2 * measured(held_out));
  if (node.runs_after("noise-classifier/" + node.measured))
    cost.flops.float32 += 2 * measured(held_out) *
                          forward_flops(noise_classifier_options(model.config.noise_classifier, model.dataset.shape));
  return cost;
}

}  // namespace

// A distance takes more samples and images than features.
bool is_scored(const PreviewConfig& preview, const CostModel& model) {
  return look_for_node(model.graph, "features") != nullptr &&
         std::min(preview.samples, model.dataset.training_images) > model.config.features.dimension;
}

StageCost prepare_cost(const StageNode& node, const CostModel& model) {
  const std::int64_t rows = model.dataset.training_images + model.dataset.test_rows;
  const DatasetShape& shape = model.dataset.shape;
  const bool are_seen = !encodes_images(model.config);
  const std::vector<std::int64_t> image =
      are_seen ? std::vector{shape.channels, shape.size, shape.size} : shape.pixel_shape();
  StageCost cost{node.name, node.kind, fmt::format("{} images", rows), {}, {}};
  // Each column has checksums of its rows; the rows of the source are a column where rows are shuffled.
  auto value_bytes = static_cast<std::int64_t>(shape.codec && are_seen ? element_size(shape.codec->stored_type()) : 1);
  if (are_seen && has_latents(model.config)) value_bytes *= 2;  // mean and deviation
  const std::int64_t bytes_of_a_row =
      image[0] * image[1] * image[2] * value_bytes + 4 + 2 * 8 + (model.config.prepare.shuffle ? 8 + 8 : 0);
  cost.disk.dataset = shard_overhead * as_double(rows) * as_double(bytes_of_a_row);
  return cost;
}

/// The program's own products are not known.
StageCost latents_cost(const StageNode& node, const CostModel& model) {
  const std::int64_t rows = model.dataset.train_rows + model.dataset.test_rows;
  StageCost cost{node.name, node.kind, fmt::format("{} rows", rows), {}, {}};
  // Mean and deviation in float16; label, prepared row, flip; checksums.
  const std::int64_t bytes_of_a_row = 2 * 2 * values_of(model) + 4 + 8 + 1 + 4 * 8;
  cost.disk.dataset = shard_overhead * as_double(rows) * as_double(bytes_of_a_row);
  return cost;
}

StageCost features_cost(const StageNode& node, const CostModel& model) {
  const ClassifierOptions options = classifier_options(model.config.features, model.dataset.shape);
  StageCost cost = training_cost(node, model.config.features.training, scored(model), parameter_count(options), model);
  cost.flops.float32 += scored(model) * as_double(model.dataset.training_images + model.dataset.test_rows);
  return cost;
}

StageCost loss_features_cost(const StageNode& node, const CostModel& model) {
  const ClassifierOptions options = loss_classifier_options(model.config.features, model.dataset.shape);
  const double forward = forward_flops(options);
  StageCost cost = training_cost(node, model.config.features.training, forward, parameter_count(options), model);
  cost.flops.float32 += forward * as_double(model.dataset.test_rows);
  return cost;
}

StageCost autoencoder_cost(const StageNode& node, const CostModel& model) {
  const AutoencoderOptions options = autoencoder_options(model.config.autoencoder, model.dataset.shape);
  const double forward = forward_flops(options);
  StageCost cost = training_cost(node, model.config.autoencoder.training, forward, parameter_count(options), model);
  cost.flops.float32 += forward * as_double(model.dataset.test_rows);
  return cost;
}

StageCost teacher_cost(const StageNode& node, const CostModel& model) {
  const TeacherConfig& config = model.config.teacher;
  const TarFlowOptions options = teacher_options(config, model.dataset.shape);
  StageCost cost = training_cost(node, config.training, inverted(model), parameter_count(options), model);
  cost.flops = cost.flops + preview_flops(config.preview, config.training, teacher_sample(0, model), model) +
               Flops{0, inverted(model) * as_double(model.dataset.test_rows)};
  return cost;
}

/// Validated on rows that are held back, about as many as there are held-out images.
StageCost gaussianiser_cost(const StageNode& node, const CostModel& model) {
  const GaussianiserConfig& config = model.config.gaussianiser;
  const TarFlowOptions options = gaussianiser_options(config, model.dataset.shape);
  return training_cost(node, config.training, forward_flops(options), parameter_count(options), model);
}

/// Noises are compared with all images, to learn the potentials and once more to write the table. Learning may stop
/// earlier.
StageCost semidiscrete_cost(const StageNode& node, const CoupleConfig& config, const CostModel& model) {
  const DatasetShape& shape = model.dataset.shape;
  const double atoms = as_double(model.dataset.train_rows * (config.flips ? 2 : 1));
  const double values =
      config.sd_dims > 0 ? as_double(config.sd_dims) : as_double(shape.channels * shape.size * shape.size);
  const double learnt =
      config.sd_steps > 0 ? as_double(config.sd_steps * config.sd_batch) : usual_noises_an_image * atoms;
  const double drawn = as_double(config.sd_draws) * atoms;
  StageCost cost{node.name, node.kind, fmt::format("{:.0f} noises of {:.0f} images", learnt + drawn, atoms), {}, {}};
  cost.flops = {0, 2 * (learnt + drawn) * atoms * values};
  cost.disk.coupling = shard_overhead * drawn * row_bytes(seeds_columns());
  return cost;
}

StageCost couple_cost(const StageNode& node, const CostModel& model) {
  const CoupleConfig config = couple_config(model.config, node.table);
  const RunTable table = find_run_table(model.config, node.table);
  if (table.made_by == "semidiscrete") return semidiscrete_cost(node, config, model);
  const ShardedTable* shards = maker_of_table(model.config, node.table).shards;
  StageCost cost{node.name, node.kind, "", {}, {}};
  if (shards == nullptr) return cost;
  // As many rows as the table has whose noise is mapped; of one from elsewhere, as the data set would give.
  RunTable first = table;
  while (!first.base.empty()) first = find_run_table(model.config, first.base);
  const std::int64_t all_rows = table_rows(couple_config(model.config, first.name), model);
  const double rows = as_double(all_rows);
  cost.work = fmt::format("{} rows", all_rows);
  if (!table.map.empty()) {
    const TarFlowOptions flow = gaussianiser_options(model.config.gaussianiser, model.dataset.shape);
    if (find_gaussian_map(table.map).fit == nullptr)
      cost.flops = in_precision(config.precision, forward_flops(flow) * rows);
  } else if (table.student.empty()) {
    cost.flops =
        in_precision(config.precision, inverted(model) * rows) + Flops{0, inverted(model) * config.round_trip * rows};
  } else {
    const double evaluations = config.solver == "dopri5" ? usual_adaptive_evaluations : as_double(config.nfe);
    const double guided = config.guidance == 1 ? 1 : 2;
    cost.flops = in_precision(
        config.precision, guided * evaluations * rows * velocity(student_config(model.config, table.student), model));
  }
  cost.disk.coupling = shard_overhead * rows * row_bytes(shards->columns(model.dataset.shape, config));
  return cost;
}

StageCost noise_classifier_cost(const StageNode& node, const CostModel& model) {
  const NoiseClassifierOptions options = noise_classifier_options(model.config.noise_classifier, model.dataset.shape);
  // A row of the table, and a fresh one.
  return training_cost(node, model.config.noise_classifier.training, 2 * forward_flops(options),
                       parameter_count(options), model);
}

StageCost student_cost(const StageNode& node, const CostModel& model) {
  const StudentConfig config = student_config(model.config, node.student);
  const double forward = velocity(config, model);
  const auto objective = student_objective(config);
  const AlignmentFlops aligned = alignment_flops(model.config, node.student, model.dataset.shape);
  const double maps = aligned.maps / forward;
  const Passes passes{objective->training_passes(values_of(model)) + forward_passes_a_training_image * maps,
                      objective->error_passes(values_of(model)) + maps};
  StageCost cost = training_cost(node, config.training, forward,
                                 find_field(config.field).parameter_count(student_options(config, model.dataset.shape)),
                                 model, passes);
  const double sample = forward * (objective->is_one_step() ? 1 : as_double(preview_nfe));
  const double features = loss_network_flops(model.config, config, model.dataset.shape) *
                          as_double(training_steps(config.training)) * as_double(config.training.batch);
  TrainingConfig teacher_passes = config.training;
  teacher_passes.precision = aligned.teacher_precision;
  cost.flops = cost.flops + preview_flops(config.preview, config.training, sample, model) + Flops{0, features} +
               training_flops(teacher_passes, aligned.teacher, model, {.training = 1, .validation = 1});
  return cost;
}

StageCost evaluate_cost(const StageNode& node, const CostModel& model) {
  StageCost cost{node.name, node.kind, fmt::format("{} samples", model.config.evaluate.samples), {}, {}};
  if (!node.measured.empty()) {
    cost = measured_noise_cost(node, model);
  } else if (!node.student.empty()) {
    cost.flops = evaluate_student(node, model);
  } else if (node.runs_after("teacher")) {
    cost.flops = evaluate_teacher(model);
  } else {
    cost.work = fmt::format("{} images", model.dataset.test_rows);
    cost.flops = {0, scored_or_nothing(model) * as_double(model.dataset.test_rows)};
  }
  return cost;
}

StageCost report_cost(const StageNode& node, const CostModel&) {
  return {node.name, node.kind, "", {}, {}};
}

}  // namespace couplet
