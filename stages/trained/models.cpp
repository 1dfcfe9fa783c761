#include "stages/trained/models.h"

#include "method/couplings/coupling.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/optimizer/ema.h"
#include "pipeline/run/stage_record.h"
#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// How far, in radians, a wave that a network sees may turn in the step of a difference: its error is a sixth of the
/// square.
constexpr double largest_turn_a_step = 0.03;

}  // namespace

StageNode trained_model(const RunView& view, const std::string& model) {
  const RunDirectory& run = view.run;
  std::vector<std::string> trained;
  std::optional<StageNode> unfinished;
  for (const StageNode& node : view.graph) {
    if (node.kind != "teacher" && node.kind != "student") continue;
    const std::string name = node.kind == "teacher" ? "teacher" : model_name(node.student, node.seed);
    const auto record = read_record(run.stage(node.name));
    const bool complete = record && record->state == StageState::complete;
    if (complete && name == model) return node;
    if (complete) trained.push_back(name);
    if (name == model) unfinished = node;
  }
  const std::string there =
      trained.empty() ? "no model is trained yet" : fmt::format("there are {}", fmt::join(trained, ", "));
  if (!unfinished) refuse("{}: no trained model '{}'; {}", run.root().string(), model, there);
  refuse("{}: the stage {} is not complete (couplet run or couplet stage goes on with it); {}", run.root().string(),
         unfinished->name, there);
}

ClassifierOptions classifier_options(const FeaturesConfig& config, const DatasetShape& shape) {
  const std::vector<std::int64_t> pixels = shape.pixel_shape();
  ClassifierOptions options;
  options.in_channels = pixels[0];
  options.image_size = pixels[1];
  options.channels = config.channels;
  options.dimension = config.dimension;
  options.num_classes = shape.labels();
  options.recompute = config.training.checkpoint_activations;
  return options;
}

std::string network_name(const Config& config) {
  return dataset_name(config.prepare) + " classifier features";
}

Classifier load_classifier(const RunDirectory& run, const FeaturesConfig& config, const DatasetShape& shape,
                           c10::Device device, Communicator& communicator) {
  return with_weights(make_classifier(classifier_options(config, shape), 0), run.classifier(), device, communicator);
}

NoiseClassifierOptions noise_classifier_options(const NoiseClassifierConfig& config, const DatasetShape& shape) {
  return {.in_channels = shape.channels,
          .size = shape.size,
          .channels = config.channels,
          .num_classes = shape.labels(),
          .recompute = config.training.checkpoint_activations};
}

NoiseClassifier load_noise_classifier(const RunDirectory& run, const std::string& table,
                                      const NoiseClassifierConfig& config, const DatasetShape& shape,
                                      c10::Device device, Communicator& communicator) {
  return with_weights(make_noise_classifier(noise_classifier_options(config, shape), 0), run.noise_classifier(table),
                      device, communicator);
}

LogRatio log_ratio_of(const NoiseClassifier& classifier, c10::Device device) {
  return [classifier, device](const at::Tensor& z, const at::Tensor& labels) {
    const at::NoGradGuard no_grad;
    return by_row_chunks(z.size(0), device, [&](std::int64_t first, std::int64_t count) {
      NoiseClassifier network = classifier;
      return network->forward(z.narrow(0, first, count).to(device), labels.narrow(0, first, count).to(device)).cpu();
    });
  };
}

AutoencoderOptions autoencoder_options(const AutoencoderConfig& config, const DatasetShape& shape) {
  const std::vector<std::int64_t> pixels = shape.pixel_shape();
  AutoencoderOptions options;
  options.in_channels = pixels[0];
  options.image_size = pixels[1];
  options.channels = config.channels;
  options.latent_channels = config.latent_channels;
  options.factor = config.factor;
  options.plain = config.kl == 0;
  options.recompute = config.training.checkpoint_activations;
  check(options);
  return options;
}

namespace {

/// What [teacher] and [gaussianiser] say of a TarFlow in the same words.
template <class FlowConfig>
TarFlowOptions tarflow_options(const FlowConfig& config, const DatasetShape& shape) {
  TarFlowOptions options;
  options.in_channels = shape.channels;
  options.image_size = shape.size;
  options.patch = config.patch;
  options.channels = config.channels;
  options.blocks = config.blocks;
  options.layers = config.layers;
  options.head_size = config.head_size;
  options.num_classes = shape.labels();
  options.recompute = config.training.checkpoint_activations;
  return options;
}

}  // namespace

TarFlowOptions teacher_options(const TeacherConfig& config, const DatasetShape& shape) {
  TarFlowOptions options = tarflow_options(config, shape);
  options.nvp = config.variant == "nvp";
  options.clip_scale = config.clip_scale;
  options.clip_shift = config.clip_shift;
  options.dropout = config.dropout;
  check(options);
  return options;
}

TarFlowOptions gaussianiser_options(const GaussianiserConfig& config, const DatasetShape& shape) {
  TarFlowOptions options = tarflow_options(config, shape);
  options.section = "gaussianiser";
  return options;
}

std::string tarflow_text(const TarFlowOptions& options) {
  return fmt::format("TarFlow {}: {} blocks of {} layers, width {}, {} tokens of {} values, {:.2f} M parameters",
                     options.nvp ? "nvp" : "vp", options.blocks, fmt::join(options.layers, ", "), options.channels,
                     options.tokens(), options.token_size(), static_cast<double>(parameter_count(options)) / 1e6);
}

std::map<std::string, std::string> tarflow_sizes(const TarFlowOptions& options) {
  std::map<std::string, std::string> sizes{{"in_channels", std::to_string(options.in_channels)},
                                           {"img_size", std::to_string(options.image_size)},
                                           {"patch_size", std::to_string(options.patch)},
                                           {"channels", std::to_string(options.channels)},
                                           {"num_blocks", std::to_string(options.blocks)},
                                           {"layers_per_block", fmt::format("{}", fmt::join(options.layers, " "))},
                                           {"num_classes", std::to_string(options.num_classes)},
                                           {"variant", options.nvp ? "nvp" : "vp"}};
  for (const auto& [name, bound] : {std::pair{"clip_scale", options.clip_scale}, {"clip_shift", options.clip_shift}})
    if (bound > 0) sizes[name] = fmt::format("{}", bound);
  return sizes;
}

ImageNoise teacher_noise(const TeacherConfig& config) {
  return {config.noise == "uniform", config.noise_std};
}

double denoising_std(const TeacherConfig& config) {
  return config.noise == "gaussian" ? config.noise_std : 0;
}

std::filesystem::path weights_file(const std::filesystem::path& directory, const std::vector<double>& rates,
                                   double ema) {
  if (ema == 0) return directory / "weights.safetensors";
  const auto found = std::ranges::find(rates, ema);
  if (found == rates.end())
    refuse("{}: no weights are averaged at the rate {}; there are averages of {}, and 0 takes the raw weights",
           directory.string(), ema, fmt::join(rates, ", "));
  return directory / ema_file(static_cast<std::size_t>(found - rates.begin()), ema);
}

std::filesystem::path inverting_weights(const Config& config, const RunDirectory& run, const std::string& table) {
  const double ema = couple_config(config, table).ema;
  const std::vector<double>& rates = config.teacher.training.ema;
  return weights_file(run.stage("teacher"), rates, ema < 0 ? rates.front() : ema);
}

TarFlow load_teacher(const std::filesystem::path& weights, const TeacherConfig& config, const DatasetShape& shape,
                     c10::Device device, Communicator& communicator) {
  return with_weights(make_tarflow(teacher_options(config, shape), 0), weights, device, communicator);
}

FieldOptions student_options(const StudentConfig& config, const DatasetShape& shape, const std::string& section) {
  FieldOptions options;
  options.section = section;
  options.image_channels = shape.channels;
  options.image_size = shape.size;
  options.patch = config.patch;
  options.channels = config.channels;
  options.depth = config.depth;
  options.heads = config.heads;
  options.num_classes = shape.labels();
  options.multipliers = config.multipliers;
  options.blocks = config.blocks;
  options.attention = config.attention;
  options.head_channels = config.head_channels;
  options.scale_shift = config.scale_shift;
  options.residual_resampling = config.residual_resampling;
  options.new_attention_order = config.new_attention_order;
  options.dropout = config.dropout;
  options.time_scale = config.time_scale;
  options.channels_last = config.channels_last;
  options.recompute = config.training.checkpoint_activations;
  options.condition_channels = shape.low_resolution.is_given() ? shape.channels : 0;
  options.spans = student_objective(config, section)->is_flow_map();
  const FieldKind& field = find_field(config.field);
  field.check(options);
  if (options.spans && !field.takes_spans)
    refuse(
        "{0}.network = {1} sees no span of time, and {0}.objective = {2} learns the mean velocity over spans: set "
        "another",
        section, field.name, config.objective);
  if (options.condition_channels > 0 && !field.takes_images)
    refuse("{}.network = {} takes no image as condition, which prepare.condition = low-resolution gives to students",
           section, field.name);
  return options;
}

PairingOptions pairing_options(const Config& config, const StudentConfig& student, const std::string& section) {
  return {.section = section,
          .batch = student.training.batch,
          .flips = config.couple.flips,
          .replicates = config.couple.replicates,
          .ot_within_class = student.ot_within == "class",
          .ot_steps = student.ot_steps,
          .source_noise = student.source_noise,
          .loom = {.slots = student.loom_slots,
                   .resample_every = student.loom_resample_every,
                   .train_after = student.loom_train_after,
                   .swaps = student.loom_swaps,
                   .within_class = student.loom_within == "class"}};
}

void check_student_options(const StudentConfig& config, const std::string& section) {
  const FieldOptions options =
      student_options(config, {.channels = 1, .size = 0, .classes = 0, .class_counts = {}}, section);
  const auto objective = student_objective(config, section);
  const auto time_rate = find_field(config.field).time_rate;
  const double fastest = time_rate == nullptr ? 1 : time_rate(options), step = objective->difference_step();
  if (fastest * step > largest_turn_a_step)
    refuse(
        "{0}.objective = {1} takes differences over {2} of time, too long for the waves of time that {0}.network = {3} "
        "sees: these turn at a rate of {4:.6g} (unet: {0}.time-scale), which may be {5:.6g}",
        section, config.objective, step, config.field, fastest, largest_turn_a_step / step);
  if (objective->is_flow_map() && !config.times.empty())
    refuse("{0}.times = {1}: {0}.objective = {2} draws pairs of times: leave the list empty", section,
           fmt::join(config.times, " "), config.objective);
  if (config.train_guidance != 1 && !objective->takes_guidance())
    refuse("{0}.train-guidance = {1}: the loss of {0}.objective = {2} is none of one output, which could be guided",
           section, config.train_guidance, objective_name(config));
  if (config.train_guidance != 1 && (config.label_drop == 0 || config.label_drop == 1))
    refuse(
        "{0}.train-guidance = {1} with {0}.label-drop = {2}: it leads away from what the student makes without a "
        "label, and {3}",
        section, config.train_guidance, config.label_drop,
        config.label_drop == 0 ? "that is learnt from dropped ones only: set label-drop above 0"
                               : "it has seen none: set label-drop below 1");
  for (const double time : config.kind == "image" ? std::vector<double>() : config.times)
    if (time < objective->first_time() || time > objective->last_time())
      refuse("{0}.times lists {1}: {0}.objective = {2} along {0}.path = {3} is learnt from t = {4:.6g} to {5:.6g}",
             section, time, config.objective, config.path, objective->first_time(), objective->last_time());
  const CouplingKind& coupling = find_coupling(config.coupling);
  if (config.training.batch < coupling.least_batch)
    refuse("{}.batch = {}: the coupling {} pairs the rows of a batch with each other's noise, and needs {} at least",
           section, config.training.batch, coupling.name, coupling.least_batch);
  if (objective->is_of_density() && coupling.name != "independent")
    refuse("{0}.objective = {1} takes no noise, and {0}.coupling = {2} would have no say: set it to independent",
           section, config.objective, coupling.name);
  if (objective->is_of_density() && !config.times.empty())
    refuse("{0}.times = {1}: {0}.objective = {2} is learnt at no time of its own: leave the list empty", section,
           fmt::join(config.times, " "), config.objective);
  if (!config.gaussianise.empty() && (!coupling.has_table() || !coupling.table_has_noise))
    refuse(
        "{0}.gaussianise = {1}: {0}.coupling = {2} reads no table of noise that could be mapped; leave the list empty, "
        "or set a coupling that does, such as nf",
        section, fmt::join(config.gaussianise, " "), coupling.name);
  if (coupling.source && objective->path().prior_scale() == 0)
    refuse("{0}.objective = {1} starts from nothing, and {0}.coupling = {2} from a source of its own: set another",
           section, config.objective, coupling.name);
  if (coupling.source && (config.mix > 0 || config.fresh_share > 0))
    refuse(
        "{}.mix and {}.fresh-share mix N(0, I) into pairs, and the coupling {} does not start from it: set both to 0",
        section, section, coupling.name);
}

std::string objective_name(const StudentConfig& config) {
  return config.kind == "image" ? "image" : config.objective;
}

namespace {

std::shared_ptr<const Objective> objective_of(const StudentConfig& config, const std::string& section,
                                              const FeatureDistance& distance) {
  const PathOptions path{.sigma_min = config.sigma_min,
                         .vp_beta_min = config.vp_beta_min,
                         .vp_beta_max = config.vp_beta_max,
                         .ve_sigma_min = config.ve_sigma_min,
                         .ve_sigma_max = config.ve_sigma_max,
                         .section = section};
  ObjectiveOptions options{.time_mean = config.time_mean,
                           .time_std = config.time_std,
                           .time_law = config.time_law,
                           .cnf_steps = config.cnf_steps,
                           .cnf_trace = config.cnf_trace,
                           .train_guidance = config.train_guidance,
                           .map_share = config.map_share,
                           .map_weight_power = config.map_weight_power,
                           .map_step = config.map_step,
                           .section = section};
  if (config.kind != "image") return make_objective(config.objective, find_path(config.path).make(path), options);
  if (config.path != "linear" || config.sigma_min != 0)
    refuse(
        "{0}.kind = image learns the image from the noise in one step, and nothing of a path: set {0}.path = linear "
        "with {0}.sigma-min = 0",
        section);
  options.time_law = "uniform";  // no law has a say
  return make_one_step(find_path("linear").make(path),
                       {.huber_delta = config.image_loss == "huber" ? config.huber_delta : 0,
                        .feature_weight = config.feature_weight,
                        .feature_distance = distance},
                       options);
}

StudentModel model_of(std::shared_ptr<Field> field, const StudentConfig& config,
                      std::shared_ptr<const Objective> objective) {
  StudentModel student{std::move(field), std::move(objective), config.label_drop < 1, {}};
  if (const auto source = find_coupling(config.coupling).source)
    student.source = [source, noise = config.source_noise](const at::Tensor& z, const Condition& condition) {
      return source(z, condition, noise);
    };
  return student;
}

}  // namespace

std::shared_ptr<const Objective> student_objective(const StudentConfig& config, const std::string& section) {
  return objective_of(config, section, {});
}

StudentModel student_model(std::shared_ptr<Field> field, const StudentConfig& config) {
  return model_of(std::move(field), config, student_objective(config));
}

StudentModel student_in_training(std::shared_ptr<Field> field, const StudentConfig& config,
                                 const FeatureDistance& distance) {
  return model_of(std::move(field), config, objective_of(config, "student", distance));
}

bool has_score(const StudentConfig& config) {
  return find_coupling(config.coupling).source == nullptr && student_objective(config)->has_score();
}

bool is_one_step(const StudentConfig& config) {
  return student_objective(config)->is_one_step();
}

std::uint64_t student_seed(std::int64_t run_seed, std::int64_t student_seed) {
  return static_cast<std::uint64_t>(run_seed) + (static_cast<std::uint64_t>(student_seed + 1) << 32);
}

StudentModel load_student(const std::filesystem::path& weights, const StudentConfig& config, const DatasetShape& shape,
                          c10::Device device, Communicator& communicator) {
  std::shared_ptr<Field> field = find_field(config.field).make(student_options(config, shape), 0);
  return student_model(with_weights(std::move(field), weights, device, communicator), config);
}

}  // namespace couplet
