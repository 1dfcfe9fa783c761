#include "stages/trained/loss_network.h"

#include "method/features/feature_network.h"
#include "method/objectives/one_step.h"
#include "method/registry.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/shared_tensors.h"
#include "stages/data/run_source.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"

#include <fmt/ranges.h>

#include <utility>
#include <vector>

namespace couplet {
namespace {

/// What the trained student's summary says; empty where there is none.
nlohmann::json student_summary(const RunDirectory& run, const StageNode& evaluation) {
  const auto path = run.student(evaluation.student, evaluation.seed) / "summary.json";
  return std::filesystem::exists(path) ? parse_json(read_file(path), path.string()) : nlohmann::json::object();
}

std::vector<std::int64_t> seen_shape(const DatasetShape& shape) {
  return {shape.channels, shape.size, shape.size};
}

LossNetwork open_program(const StudentConfig& student, const DatasetShape& shape, c10::Device device) {
  return make_loss_network(LossProgram{student.feature_network, student.feature_range}, seen_shape(shape), device);
}

}  // namespace

std::string why_unused(const StudentConfig& student, const std::string& key) {
  if (!uses_key(student_kinds(), student.kind, key)) return "kind = " + student.kind;
  if (key == "student.huber-delta" && student.image_loss != "huber") return "image-loss = " + student.image_loss;
  if (key != "student.feature-network" && key != "student.feature-range") return "";
  if (student.feature_weight == 0) return "feature-weight = 0";
  return key == "student.feature-range" && student.feature_network.empty() ? "feature-network is empty" : "";
}

bool has_feature_loss(const StudentConfig& student) {
  return student.kind == "image" && student.feature_weight > 0;
}

bool needs_loss_classifier(const StudentConfig& student) {
  return has_feature_loss(student) && student.feature_network.empty();
}

ClassifierOptions loss_classifier_options(const FeaturesConfig& config, const DatasetShape& shape) {
  ClassifierOptions options = classifier_options(config, shape);
  options.channels = (3 * options.channels + 1) / 2;
  options.dimension = (3 * options.dimension + 1) / 2;
  options.smooth = true;
  return options;
}

std::uint64_t loss_classifier_seed(std::int64_t run_seed) {
  return static_cast<std::uint64_t>(run_seed) + (std::uint64_t{1} << 63);  // no run's own: they are below 2^53
}

std::string loss_classifier_name(const Config& config) {
  return dataset_name(config.prepare) + " second classifier";
}

std::optional<LossNetwork> load_loss_network(const StageContext& context, const StudentConfig& student,
                                             const DatasetShape& shape) {
  if (!has_feature_loss(student)) return std::nullopt;
  if (!needs_loss_classifier(student)) return open_program(student, shape, context.device);
  Classifier classifier = make_classifier(loss_classifier_options(context.config.features, shape), 0);
  return make_loss_network(
      with_weights(std::move(classifier), context.run.loss_classifier(), context.device, context.communicator),
      loss_classifier_name(context.config));
}

std::optional<LossNetwork> try_loss_network(const Config& config, const StudentConfig& student,
                                            const DatasetShape& shape, const std::string& section) {
  if (!has_feature_loss(student)) return std::nullopt;
  if (has_latents(config) || has_points(config.prepare) || shape.pixel_shape() != seen_shape(shape))
    refuse("{}.feature-weight = {}: the network compares images, and students see no pixels here but {}: set it to 0",
           section, student.feature_weight,
           has_latents(config)          ? "latents"
           : has_points(config.prepare) ? "points"
                                        : fmt::format("[{}]", fmt::join(seen_shape(shape), ", ")));
  if (needs_loss_classifier(student)) return std::nullopt;
  return open_program(student, shape, c10::kCPU);
}

double loss_network_flops(const Config& config, const StudentConfig& student, const DatasetShape& shape) {
  constexpr double passes = 3;
  return needs_loss_classifier(student) ? passes * forward_flops(loss_classifier_options(config.features, shape)) : 0;
}

nlohmann::json facts_of(const LossNetwork& network) {
  return {
      {"loss_network", network.name}, {"loss_network_hash", network.hash}, {"loss_network_weights", network.weights}};
}

nlohmann::json loss_network_facts(const RunDirectory& run, const StageNode& evaluation) {
  nlohmann::json facts = nlohmann::json::object();
  if (evaluation.student.empty()) return facts;
  const nlohmann::json summary = student_summary(run, evaluation);
  for (const char* name : {"loss_network", "loss_network_hash"})
    if (const auto found = summary.find(name); found != summary.end()) facts[name] = *found;
  return facts;
}

void require_other_network(const RunDirectory& run, const StageNode& evaluation, const std::string& name,
                           const std::string& hash, const std::set<std::string>& weights) {
  if (evaluation.student.empty()) return;
  const nlohmann::json summary = student_summary(run, evaluation);
  const bool is_same_file = !hash.empty() && summary.value("loss_network_hash", "") == hash;
  if (!is_same_file && !share_weights(summary.value("loss_network_weights", std::set<std::string>()), weights)) return;
  refuse(
      "{}: the network {} scores the student {}, and its features are what the student's loss compared ({}): such a "
      "score says nothing; set evaluate.network or student.feature-network to another",
      evaluation.name, name, evaluation.student, summary.value("loss_network", ""));
}

}  // namespace couplet
