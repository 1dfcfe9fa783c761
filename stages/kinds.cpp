#include "stages/kinds.h"

#include "method/couplings/coupling.h"
#include "method/data/codec.h"
#include "method/data/crop.h"
#include "method/data/files/labels.h"
#include "method/data/image_source.h"
#include "method/data/toys.h"
#include "method/features/open_network.h"
#include "method/gaussianisation/gaussian_map.h"
#include "method/models/field.h"
#include "method/objectives/objective.h"
#include "method/objectives/one_step.h"
#include "method/paths/path.h"
#include "method/registry.h"
#include "method/scoring/described_images.h"
#include "pipeline/config/options.h"
#include "pipeline/config/validation.h"
#include "pipeline/tensor/weights.h"
#include "stages/autoencoder.h"
#include "stages/cost/dataset_size.h"
#include "stages/couple/couple.h"
#include "stages/couple/noise_map.h"
#include "stages/data/run_source.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/evaluate/evaluate.h"
#include "stages/evaluate/run_reference.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/evaluate/score_requests.h"
#include "stages/features.h"
#include "stages/gaussianiser.h"
#include "stages/latents.h"
#include "stages/noise_classifier.h"
#include "stages/prepare.h"
#include "stages/report/report.h"
#include "stages/student.h"
#include "stages/teacher.h"
#include "stages/trained/alignment.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/filesystem.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

namespace {

using Nodes = std::vector<StageNode>;

void require_file(const char* key, const std::filesystem::path& path) {
  if (!path.empty() && !is_there(path)) refuse("{}: there is no file {}", key, path.string());
}

void require_weights(const char* key, const std::filesystem::path& path) {
  require_file(key, path);
  if (path.empty()) return;
  try {
    require_tensors(path);
  } catch (const Error& error) {
    refuse("{}: {}", key, error.what());
  }
}

void require_prepare(const Nodes&, const RunView& view) {
  require_source(view.config.prepare, view.run);
  if (!has_latents(view.config) || encodes_images(view.config)) return;
  require_file("latents.file", view.config.latents.file);
  source_images(view.config, view.run);  // which tries the program
}

/// The first of these sizes that can be found.
template <class... Find>
std::optional<DatasetSize> first_of(const Find&... find) {
  std::optional<DatasetSize> found;
  const auto look = [&](const auto& one) {
    try {
      if (!found) found = one();
    } catch (const Error&) {
      return;
    }
  };
  (look(find), ...);
  return found;
}

/// The data set: by its source, from which a run may be about to be made anew; by what was prepared of it where that is
/// gone. Nothing where it cannot be read, which the stage that makes it will say.
std::optional<DatasetSize> known_dataset(const RunView& view) {
  return first_of([&] { return source_size(view.config, view.run); },
                  [&] { return dataset_size(view.config, view.run); });
}

/// The same of the images, where models see latents of them.
std::optional<DatasetSize> known_images(const RunView& view) {
  return first_of([&] { return std::optional(source_images(view.config, view.run)); },
                  [&] { return prepared_images(view.run); });
}

/// Tries the program on an image, where it is there already.
void require_latents(const Nodes&, const RunView& view) {
  const LatentsConfig& latents = view.config.latents;
  if (latents.codec == "script") require_file("latents.file", latent_script(view.config, view.run));
  if (const auto images = known_images(view)) latent_shape(view.config, view.run, images->shape.pixel_shape());
}

void require_features(const Nodes&, const RunView& view) {
  if (const auto dataset = known_dataset(view)) check(classifier_options(view.config.features, dataset->shape));
}

void require_loss_features(const Nodes&, const RunView& view) {
  if (const auto dataset = known_dataset(view)) check(loss_classifier_options(view.config.features, dataset->shape));
}

void require_autoencoder(const Nodes&, const RunView& view) {
  if (const auto dataset = known_dataset(view)) autoencoder_options(view.config.autoencoder, dataset->shape);
}

void require_teacher(const Nodes&, const RunView& view) {
  require_weights("teacher.init", view.config.teacher.init);
  const auto dataset = known_dataset(view);
  if (!dataset) return;
  teacher_options(view.config.teacher, dataset->shape);
  if (teacher_noise(view.config.teacher).uniform && dataset->shape.codec->levels() == 0)
    refuse("teacher.noise = uniform is as wide as a level, and the data set's codec {} stores none: set gaussian",
           dataset->shape.codec->name());
}

/// Of tables of mapped noise: what their maps ask of rows.
void require_maps(const Nodes& nodes, const RunView& view) {
  const auto dataset = known_dataset(view);
  if (!dataset) return;
  for (const StageNode& node : nodes) {
    const RunTable table = find_run_table(view.config, node.table);
    if (table.map.empty()) continue;
    if (const auto check = find_gaussian_map(table.map).check)
      check(noise_map_options(view.config, table, dataset->shape));
  }
}

void require_gaussianiser(const Nodes&, const RunView& view) {
  if (const auto dataset = known_dataset(view)) check(gaussianiser_options(view.config.gaussianiser, dataset->shape));
}

/// A student starts from another's weights, which have to mean the same in it.
void require_same_network(const Config& config, const std::string& section, const StudentConfig& student,
                          const DatasetShape& shape) {
  const StudentConfig other = student_config(config, student.init_from);
  const auto refuse_other = [&](const std::string& what, const auto& ours, const auto& theirs) {
    refuse(
        "{0}.init-from = {1}: {0}.{2} = {3}, and {4} of {1}: weights go from a student to one that is built and "
        "trained alike",
        section, student.init_from, what, ours, theirs);
  };
  if (student.field != other.field) refuse_other("network", student.field, other.field);
  FieldOptions options = student_options(student, shape);
  const FieldOptions other_options = student_options(other, shape);
  // A velocity, a flow of maximum likelihood and, to begin a flow map with, other flow maps are the same network; other
  // outputs mean other things. What a flow has learnt of images is a start for one step, though its output meant
  // something else.
  const auto means = [&](const StudentConfig& of, bool is_flow_map) {
    return of.objective == "likelihood" || (is_flow_map && options.spans) ? std::string("velocity") : of.objective;
  };
  if (student.kind == "flow" && other.kind != "flow") refuse_other("kind", student.kind, other.kind);
  if (student.kind == "flow" && means(student, options.spans) != means(other, other_options.spans))
    refuse_other("objective", student.objective, other.objective);
  if (!options.spans && other_options.spans) refuse_other("objective", objective_name(student), other.objective);
  const FieldKind& kind = find_field(student.field);
  options.spans = other_options.spans;  // what the weights lack of it is drawn
  const std::int64_t parameters = kind.parameter_count(options);
  const std::int64_t theirs = kind.parameter_count(other_options);
  if (parameters != theirs)
    refuse("{0}.init-from = {1}: the network has {2} parameters, and that of {1} has {3}: set the same sizes for both",
           section, student.init_from, parameters, theirs);
  const auto uses = [&](const char* key) { return std::ranges::find(kind.keys, key) != kind.keys.end(); };
  if (uses("student.time-scale") && student.time_scale != other.time_scale)
    refuse_other("time-scale", student.time_scale, other.time_scale);
  if (uses("student.new-attention-order") && student.new_attention_order != other.new_attention_order)
    refuse_other("new-attention-order", student.new_attention_order, other.new_attention_order);
  if (uses("student.heads") && student.heads != other.heads) refuse_other("heads", student.heads, other.heads);
}

/// A table of reflow is made by another student's flow.
void require_flow(const Config& config, const std::string& section, const StudentConfig& student,
                  const RunTable& table) {
  const StudentConfig other = student_config(config, student.reflow_of);
  const double guidance = couple_config(config, unmapped_table(config, table).name).guidance;
  if (guidance != 1 && other.label_drop == 1)
    refuse(
        "{}.reflow-of = {} with couple.guidance = {}: guidance leads away from what a student makes without a label, "
        "and that one has seen none (label-drop = 1)",
        section, student.reflow_of, guidance);
  if (student_objective(other)->path().prior_scale() == 0)
    refuse("{}.reflow-of = {}: it learns by student.objective = {}, and makes one image of all noise", section,
           student.reflow_of, other.objective);
  if (is_one_step(other))
    refuse("{}.reflow-of = {}: it makes images in one step (student.kind = {}), and has no flow for a solver to follow",
           section, student.reflow_of, other.kind);
}

/// A student's own section sets no key that has no say for its kind, or beside another key.
void require_keys_of_kind(const Config& config, const std::string& name, const StudentConfig& student) {
  const auto section = config.student_sections.find(name);
  if (section == config.student_sections.end()) return;
  for (const auto& [key, value] : section->second)
    if (const std::string reason = why_unused(student, "student." + key); !reason.empty())
      refuse("student.{0}.{1} = {2}: it has no say where student.{3}, as of {0}; leave it out", name, key, value,
             reason);
}

/// The network of a student's loss is not the one that scores it, as far as their files tell; the evaluation looks at
/// weights besides.
void require_other_file(const StageNode& node, const RunView& view) {
  const std::string model = model_name(node.student, node.seed), key = "student.feature-network";
  const StageNode* evaluation = look_for_node(view.graph, "evaluate/" + model);
  const StageNode& student = find_node(view.graph, "student/" + model);
  if (evaluation == nullptr || !student.files.contains(key)) return;
  const StudentConfig config = student_config(view.config, node.student);
  if (has_feature_loss(config) && student.keys.at(key) == evaluation->settings.at("evaluate.network"))
    refuse(
        "{}.feature-network = {} is the network of evaluate.network = {}: a student that is trained by what scores it "
        "says nothing; set one of them to another",
        section_of_student(view.config, node.student), config.feature_network, view.config.evaluate.network);
}

void require_student(const Nodes& nodes, const RunView& view) {
  const auto dataset = known_dataset(view);
  for (const StageNode& node : nodes) {
    const StudentConfig student = student_config(view.config, node.student);
    require_keys_of_kind(view.config, node.student, student);
    require_weights("student.init", student.init);
    require_file("student.feature-network", student.feature_network);
    require_other_file(node, view);
    require_alignment(view.config, node.student);
    if (!dataset) continue;
    const std::string section = section_of_student(view.config, node.student);
    student_options(student, dataset->shape, section);
    try_loss_network(view.config, student, dataset->shape, section);
    if (student.train_guidance != 1 && !dataset->shape.has_classes())
      refuse("{}.train-guidance = {}: it leads towards a class, and the data set has none; set it to 1", section,
             student.train_guidance);
    if (view.config.pipeline.tf32 && student_objective(student, section)->needs_all_digits())
      refuse(
          "{}.objective = {} takes differences of what the network puts out, of which pipeline.tf32 = true leaves "
          "nothing: set it to false",
          section, student.objective);
    if (student.dequantise && dataset->shape.codec->levels() == 0)
      refuse("{}.dequantise = true: the data set's codec {} stores no levels for images to be spread over", section,
             dataset->shape.codec->name());
    if (!student.init_from.empty()) require_same_network(view.config, section, student, dataset->shape);
    if (find_coupling(student.coupling).made_by == "reflow")
      require_flow(view.config, section, student, *table_of_student(view.config, node.student));
    const auto table = table_of_student(view.config, node.student);
    if (sampling_settings(view.config.evaluate, student, "", table && table->has_noise).empty())
      refuse(
          "{}.objective = {} has no score, which all solvers that [evaluate] lists need: list one that adds no noise, "
          "such as evaluate.euler-nfe",
          section, student.objective);
    if (const auto check = find_coupling(student.coupling).check)
      check(pairing_options(view.config, student, section), dataset->shape, dataset->train_rows);
  }
}

/// A temperature is of noise that samples start from.
void require_noise(const Config& config, const std::string& name) {
  const StudentConfig student = student_config(config, name);
  const std::vector<double>& all = config.evaluate.temperature;
  if (find_coupling(student.coupling).source && std::ranges::any_of(all, [](double each) { return each != 1; }))
    refuse(
        "evaluate.temperature = {}: {}.coupling = {} has samples start from a source of its own, and not from noise of "
        "unit variance; set it to 1",
        fmt::join(all, " "), section_of_student(config, name), student.coupling);
}

/// Also a network that cannot be read, takes other arguments or does not take the data set's images, and too few
/// samples for its features: it is opened once for that, and shown an image.
void require_evaluation(const Nodes& nodes, const RunView& view) {
  const EvaluateConfig& evaluate = view.config.evaluate;
  for (const StageNode& node : nodes)
    if (!node.student.empty()) {
      require_noise(view.config, node.student);
      require_other_file(node, view);
    }
  require_file("evaluate.reference", evaluate.reference);
  if (has_points(view.config.prepare) && !evaluate.network.empty())
    refuse(
        "evaluate.network = {} describes images, but prepare.format = {} gives points, which are compared as they are",
        evaluate.network, view.config.prepare.format);
  std::shared_ptr<FeatureNetwork> given;
  if (!evaluate.network.empty()) given = make_feature_network({evaluate.network, evaluate.network_args}, c10::kCPU);
  const auto dataset = known_dataset(view);
  if (!dataset) return;
  for (const auto& [key, samples] : {std::pair{"samples", evaluate.samples},
                                     {"curvature-samples", evaluate.curvature_samples},
                                     {"tolerance-samples", evaluate.tolerance_samples}})
    if (dataset->shape.low_resolution.is_given() && samples > dataset->test_rows)
      refuse(
          "evaluate.{} = {}: samples are held-out images restored from their low resolution, one an image, and there "
          "are {} (prepare.condition, prepare.test-rows)",
          key, samples, dataset->test_rows);
  if (given) {
    std::vector<std::int64_t> sizes = dataset->shape.pixel_shape();
    sizes.insert(sizes.begin(), 1);
    const ImageFeatures black = given->describe(at::zeros(sizes, at::kByte));
    require_samples(view.config, widths_of(black).features, dataset->training_images, dataset->test_rows);
  } else if (look_for_node(view.graph, "features") != nullptr) {
    require_samples(view.config, view.config.features.dimension, dataset->training_images, dataset->test_rows);
  }
}

StageWork features_work(const StageNode& node, const RunView& view) {
  return training_work(view.run.stage(node.name), view.config.features.training);
}

StageWork autoencoder_work(const StageNode& node, const RunView& view) {
  return training_work(view.run.stage(node.name), view.config.autoencoder.training);
}

StageWork teacher_work(const StageNode& node, const RunView& view) {
  return training_work(view.run.stage(node.name), view.config.teacher.training);
}

StageWork noise_classifier_work(const StageNode& node, const RunView& view) {
  return training_work(view.run.stage(node.name), view.config.noise_classifier.training);
}

StageWork gaussianiser_work(const StageNode& node, const RunView& view) {
  return training_work(view.run.stage(node.name), view.config.gaussianiser.training);
}

StageWork student_work(const StageNode& node, const RunView& view) {
  return training_work(view.run.stage(node.name), student_config(view.config, node.student).training);
}

/// Of a stage that turns the data set into shards.
StageWork dataset_work(const StageNode& node, const RunView& view) {
  return shard_work(view.run.stage(node.name));
}

StageWork evaluate_work(const StageNode& node, const RunView& view) {
  const auto all = std::ssize(score_requests(node, view)), missing = std::ssize(missing_scores(node, view));
  return score_work(view.run.stage(node.name) / "records.json", all - missing, all);
}

StageWork no_work(const StageNode&, const RunView&) {
  return {};
}

/// Of each member of a registry, its name and help.
template <class Kind>
std::vector<Choice> choices(const std::vector<Kind>& members) {
  std::vector<Choice> all;
  for (const Kind& member : members) all.push_back({member.name, member.help});
  return all;
}

}  // namespace

const std::vector<StageKind>& stage_kinds() {
  static const std::vector<StageKind> kinds{
      {.name = "prepare",
       .what = "turn the data set's source into shards",
       .run = prepare,
       .progress = dataset_work,
       .cost = prepare_cost,
       .require = require_prepare},
      {.name = "latents",
       .what = "encode the images as latents",
       .run = latents,
       .progress = dataset_work,
       .cost = latents_cost,
       .require = require_latents},
      {.name = "features",
       .what = "train the classifier whose features scores compare",
       .run = features,
       .progress = features_work,
       .cost = features_cost,
       .require = require_features},
      {.name = "loss-features",
       .what = "train the classifier whose features a student's loss compares",
       .run = loss_features,
       .progress = features_work,
       .cost = loss_features_cost,
       .require = require_loss_features},
      {.name = "autoencoder",
       .what = "train the autoencoder, between images and latents",
       .run = autoencoder,
       .progress = autoencoder_work,
       .cost = autoencoder_cost,
       .require = require_autoencoder},
      {.name = "teacher",
       .what = "train the teacher",
       .run = teacher,
       .progress = teacher_work,
       .cost = teacher_cost,
       .require = require_teacher},
      {.name = "couple",
       .what = "fill a coupling table",
       .run = couple,
       .progress = table_work,
       .cost = couple_cost,
       .require = require_maps},
      {.name = "noise-classifier",
       .what = "train a classifier that tells a table's noise from N(0, I)",
       .run = noise_classifier,
       .progress = noise_classifier_work,
       .cost = noise_classifier_cost},
      {.name = "gaussianiser",
       .what = "train a second flow, on the noise of a coupling table",
       .run = gaussianiser,
       .progress = gaussianiser_work,
       .cost = gaussianiser_cost,
       .require = require_gaussianiser},
      {.name = "student",
       .what = "train a student",
       .run = student,
       .progress = student_work,
       .cost = student_cost,
       .require = require_student},
      {.name = "evaluate",
       .what = "score a model",
       .run = evaluate,
       .progress = evaluate_work,
       .cost = evaluate_cost,
       .require = require_evaluation,
       .missing = scores_to_make,
       .forget = forget_scores},
      {.name = "report",
       .what = "write the report",
       .run = report,
       .progress = no_work,
       .cost = report_cost,
       .missing = report_news,
       .forget = forget_report},
  };
  return kinds;
}

const StageKind& kind_of(const StageNode& node) {
  const auto found = std::ranges::find(stage_kinds(), node.kind, &StageKind::name);
  if (found == stage_kinds().end()) fail("there is no stage of kind '{}'", node.kind);
  return *found;
}

std::string kind_names() {
  std::vector<std::string> names;
  for (const StageKind& kind : stage_kinds()) names.push_back(kind.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Estimate estimate_run(const Config& config, const DatasetSize& dataset, const StageGraph& graph) {
  const CostModel model{config, graph, dataset};
  Estimate estimate;
  for (const StageNode& node : graph) {
    estimate.stages.push_back(found_of(node, [&] { return kind_of(node).cost(node, model); }));
    const DiskEstimate& disk = estimate.stages.back().disk;
    estimate.disk.dataset += disk.dataset;
    estimate.disk.coupling += disk.coupling;
    estimate.disk.checkpoints += disk.checkpoints;
    estimate.disk.weights += disk.weights;
  }
  return estimate;
}

void offer_members() {
  std::vector<Choice> formats = choices(source_kinds());
  formats.push_back({"auto", "found out by looking at prepare.source"});
  offer_choices("prepare.format", std::move(formats));
  offer_choices("prepare.labels", choices(label_rules()));
  offer_choices("prepare.crop", choices(crop_kinds()));
  offer_choices("prepare.filter", choices(resample_filters()));
  std::vector<CodecKind> codecs = codec_kinds();
  std::erase_if(codecs, [](const CodecKind& codec) { return !codec.is_of_source; });
  offer_choices("prepare.codec", choices(codecs));
  offer_choices("prepare.toy", choices(toys()));
  offer_choices("student.kind", choices(student_kinds()));
  offer_choices("student.gaussianise", choices(gaussian_map_kinds()));
  offer_choices("student.coupling", choices(coupling_kinds()));
  offer_choices("student.network", choices(field_kinds()));
  offer_choices("student.path", choices(path_kinds()));
  offer_choices("student.objective", choices(objective_kinds()));
  offer_student_check(check_student_options);
}

}  // namespace couplet
