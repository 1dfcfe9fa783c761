#include "stages/evaluate/evaluation.h"

#include "method/data/dataset.h"
#include "method/features/feature_network.h"
#include "method/scoring/restoration.h"
#include "method/tables/coupling_table.h"
#include "pipeline/config/options.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/weights.h"
#include "stages/data/run_source.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/evaluate/pictures.h"
#include "stages/evaluate/run_reference.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace couplet {

namespace {

/// Fields of all records of a node: how images lost their resolution, and the network in the loss of its student.
nlohmann::json facts_of_records(const StageContext& stage, const DatasetShape& shape) {
  nlohmann::json facts = loss_network_facts(stage.run, stage.node);
  facts.update(shape.low_resolution.facts());
  return facts;
}

constexpr const char* scoring_stopped = "evaluation stopped; finished scores and the samples counted so far are kept";

}  // namespace

std::filesystem::path score_journal(const StageContext& context) {
  return context.directory() / "score-under-way";
}

Evaluation::Evaluation(StageContext& stage)
    : context(stage),
      train(seen_rows(stage.config, stage.run, "train"), dataset_format),
      test(seen_rows(stage.config, stage.run, "test"), dataset_format),
      shape(dataset_shape(train)),
      records(stage.directory(), facts_of_records(stage, shape)) {
  if (encodes_images(stage.config)) {
    train_images_.emplace(stage.run.train_images(), dataset_format);
    test_images_.emplace(stage.run.test_images(), dataset_format);
  }
  if (!stage.node.student.empty()) student_ = student_config(stage.config, stage.node.student);
}

std::string Evaluation::model_name() const {
  return context.node.student.empty() ? "teacher" : couplet::model_name(context.node.student, context.node.seed);
}

void Evaluation::open_network() {
  ScorerReference basis = run_reference(context, train_images(), test_images());
  const auto require_other = [&](const ScoreNetwork& scorer, const std::set<std::string>& weights) {
    require_other_network(context.run, context.node, scorer.name, scorer.hash, weights);
  };
  if (basis.network) {
    network_ = {basis.network->name(), basis.network->hash(), basis.network->resize()};
    require_other(network_, basis.network->weights());
  }
  if (basis.reference) real_ = basis.reference->real;
  std::optional<Classifier> classifier;
  if (look_for_node(context.graph, "features") != nullptr) {
    classifier = load_classifier(context.run, context.config.features, shape, context.device, context.communicator);
    classifier_ = {couplet::network_name(context.config), tensors_hash(named_tensors(**classifier)), "none"};
    require_other(classifier_, weight_hashes((*classifier)->parameters()));
  }
  scorer_.emplace(std::move(classifier), shape.codec, std::move(basis), config().slice_rows,
                  sheet_images(config().grid_rows), scoring_stopped, context.communicator, context.device);
  const std::string warning = has_points(context.config.prepare) ? "" : sample_size_warning(config().samples);
  if (!warning.empty() && context.communicator.is_root()) warn_line("evaluate.samples: " + warning);
  context.communicator.barrier();
}

Scorer& Evaluation::scorer() {
  if (!scorer_) open_network();
  return *scorer_;
}

const ScoreNetwork& Evaluation::network() {
  scorer();
  return network_;
}

const RealFeatures* Evaluation::real() {
  scorer();
  return real_.get();
}

const StudentModel& Evaluation::student_model(double ema) {
  if (!model_ || model_ema_ != ema) {
    const auto directory = context.run.student(context.node.student, context.node.seed);
    const auto weights = weights_file(directory, student_.training.ema, ema);
    model_ = load_student(weights, student_, shape, context.device, context.communicator);
    model_ema_ = ema;
  }
  return *model_;
}

StudentFlow Evaluation::flow(const FieldSetting& field) {
  return {student_model(field.ema), field.guidance, config().precision, field.temperature};
}

RowTable Evaluation::table(const std::string& name, const std::string& split) const {
  return RowTable(table_directory(context.config, context.run, name, split), coupling_format);
}

double Evaluation::sigma_f(const std::string& name) const {
  return table(name, "train").summary().at("sigma_f").get<double>();
}

const NoiseClassifier& Evaluation::noise_classifier(const std::string& name) {
  if (!noise_classifier_ || noise_classifier_->first != name)
    noise_classifier_.emplace(name, load_noise_classifier(context.run, name, context.config.noise_classifier, shape,
                                                          context.device, context.communicator));
  return noise_classifier_->second;
}

InitialNoise Evaluation::student_noise(std::uint64_t seed, std::int64_t first, std::int64_t count) const {
  return couplet::student_noise(shape, test, seed, first, count);
}

InitialNoise Evaluation::table_noise(const RowTable& from, double sigma, std::int64_t first, std::int64_t count) const {
  InitialNoise initial = couplet::table_noise(from, sigma, first, count);
  if (shape.low_resolution.is_given())
    initial.condition = shape.condition(table_images(from, first, count), initial.condition.labels);
  return initial;
}

at::Tensor Evaluation::table_images(const RowTable& from, std::int64_t first, std::int64_t count) const {
  std::vector<std::int64_t> numbers;
  for (std::int64_t row = first; row < first + count; ++row) numbers.push_back(std::min(row, from.rows() - 1));
  return seen_images(read_numbered_rows(from, "image", numbers), *shape.codec);
}

SliceJournal Evaluation::journal(const ScoreRequest& request) const {
  return {score_journal(context),
          fmt::format("couplet {}, {} {}: {}", COUPLET_VERSION, context.node.name, context.node.fingerprint,
                      identity_text(request.key, request.last_metric, request.with))};
}

void Evaluation::for_each_figures(const ScoreRequest& request, std::int64_t rows, std::int64_t figures,
                                  const RowMeasure& measure,
                                  const std::function<void(const at::Tensor& values)>& add) const {
  const at::NoGradGuard no_grad;
  const std::int64_t slice = std::min(config().slice_rows, rows);
  for_each_slice(
      context.communicator,
      {.rows = rows, .slice_rows = slice, .columns = figures, .stopped = scoring_stopped, .journal = journal(request)},
      [&](std::int64_t first) { return measure(first, slice); }, add);
}

at::Tensor Evaluation::sums_over_rows(const ScoreRequest& request, std::int64_t rows, std::int64_t figures,
                                      const RowMeasure& measure) const {
  at::Tensor sum = at::zeros({figures}, at::kDouble);
  for_each_figures(request, rows, figures, measure, [&](const at::Tensor& values) { sum += values.sum(0); });
  return sum;
}

at::Tensor Evaluation::figures_of_rows(const ScoreRequest& request, std::int64_t rows, std::int64_t figures,
                                       const RowMeasure& measure) const {
  std::vector<at::Tensor> parts;
  for_each_figures(request, rows, figures, measure, [&](const at::Tensor& values) { parts.push_back(values); });
  return at::cat(parts);
}

Generated Evaluation::with_figures(Generated made, const RowTable& images, std::int64_t first) const {
  if (!shape.low_resolution.is_given()) return made;
  const at::Tensor& restored = made.variants.front();
  const at::Tensor pixels = shape.codec->decode(table_images(images, first, restored.size(0)));
  made.figures = restoration_figures(shape.codec->decode(restored).cpu(), pixels, shape.low_resolution);
  return made;
}

SampleScore Evaluation::score(const ScoreRequest& request, std::int64_t samples, const Generator& generate) {
  const std::int64_t figures = shape.low_resolution.is_given() ? restoration_width(shape.channels) : 0;
  return scorer().score(generate, 1, samples, journal(request), figures)[0];
}

void Evaluation::keep_samples(const ScoreKey& key, const MadeWith& with, const SampleScore& score,
                              const nlohmann::json& details) {
  for (const FeatureScore& one : score.comparison) {
    nlohmann::json fields = details;
    fields.update(one.details);
    records.add(key, one.metric, with, one.value, one.samples, network_, score.nonfinite, fields);
  }
  if (score.figures.defined() && score.figures.size(0) > 0)
    for (const FeatureScore& one : restoration_scores(score.figures, score.samples)) {
      nlohmann::json fields = details;
      fields.update(one.details);
      records.add(key, one.metric, with, one.value, one.samples, {}, score.nonfinite, fields);
    }
  if (score.comparison.empty()) {
    const double finite = 1 - static_cast<double>(score.nonfinite) / static_cast<double>(score.samples);
    records.add(key, "finite_share", with, finite, score.samples, {}, score.nonfinite, details);
  }
  if (score.class_accuracy)
    records.add(key, "class_accuracy", with, *score.class_accuracy, score.samples, classifier_, score.nonfinite,
                details);
  if (score.nonfinite > 0) say("{} of {} samples held NaN or infinite values", score.nonfinite, score.samples);
  if (context.communicator.is_root()) records.publish();
}

void Evaluation::keep(const ScoreKey& key, const MadeWith& with, const std::string& metric, double value,
                      std::int64_t rows, const nlohmann::json& details) {
  if (records.has(key, metric, with)) return;
  records.add(key, metric, with, value, rows, {}, 0, details);
  if (context.communicator.is_root()) records.publish();
  say("{}{}: {} = {:.5f} ({} rows)", key.student, key.split.empty() ? "" : ", " + key.split, metric, value, rows);
}

}  // namespace couplet
