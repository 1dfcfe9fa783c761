#include "stages/student.h"

#include "method/couplings/mixed_noise.h"
#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/models/span_embedding.h"
#include "method/sampling/guided_field.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/config/options.h"
#include "pipeline/config/validation.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/random.h"
#include "pipeline/training/trainer.h"
#include "stages/data/run_source.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/drawn_pairs.h"
#include "stages/trained/alignment.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"
#include "stages/trained/preview.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

namespace couplet {
namespace {

/// What a student is trained by.
struct StudentTask {
  const StageContext& context;
  StudentConfig config;  ///< its own
  std::uint64_t seed = 0;
  DatasetShape shape;
};

std::int64_t values_of(const DatasetShape& shape) {
  return shape.channels * shape.size * shape.size;
}

/// A table that the teacher has filled belongs to the run's teacher, of these weights. `pairs`: what it is made from.
void require_same_teacher(const nlohmann::json& pairs, const std::filesystem::path& table,
                          const std::filesystem::path& weights, Communicator& communicator) {
  const std::string teacher = hash_for_all(communicator, weights);
  const std::string made_with = pairs.at("teacher").get<std::string>();
  if (made_with != teacher) {
    fail("{} was made with teacher {}, but {} is {}: redo the couple stage (--redo couple)", table.string(), made_with,
         weights.string(), teacher);
  }
}

std::unique_ptr<Coupling> open_coupling(const StudentTask& task, const CouplingKind& kind) {
  const RunDirectory& run = task.context.run;
  const Config& config = task.context.config;
  CouplingSources sources;
  sources.pairing = pairing_options(config, task.config, section_of_student(config, task.context.node.student));
  sources.train_images = seen_rows(config, run, "train");
  sources.test_images = seen_rows(config, run, "test");
  if (const auto table = table_of_student(config, task.context.node.student)) {
    sources.train_table = table_directory(config, run, table->name, "train");
    if (table->has_noise) sources.test_table = table_directory(config, run, table->name, "test");
  }
  sources.reads = training_reads(config.storage);
  sources.block_rows = config.couple.block_rows;
  sources.window_blocks = task.config.window_blocks;
  sources.seed = task.seed;
  sources.held_out_seed = static_cast<std::uint64_t>(config.pipeline.seed);
  sources.codec = task.shape.codec;
  sources.communicator = &task.context.communicator;
  if (is_aligned(task.config))
    sources.teacher_noise =
        TeacherNoise{teacher_noise(config.teacher), static_cast<std::uint64_t>(config.pipeline.seed)};
  std::unique_ptr<Coupling> coupling = kind.make(sources);
  if (has_noise_of_teacher(task.config) || is_aligned(task.config)) {
    const RunTable filled = unmapped_table(config, *table_of_student(config, task.context.node.student));
    const auto path = table_directory(config, run, filled.name, "train");
    const bool is_mapped = path != sources.train_table;
    require_same_teacher(is_mapped ? RowTable(path, coupling_format).provenance() : coupling->provenance(), path,
                         inverting_weights(config, run, filled.name), task.context.communicator);
  }
  const Mixing mixing{task.config.mix, task.config.fresh_share, sources.seed, sources.held_out_seed};
  return mixing.is_asked_for() ? mix_noise(std::move(coupling), mixing) : std::move(coupling);
}

/// The file that the weights start from; "": they are drawn.
std::filesystem::path initial_weights(const StudentTask& task) {
  if (task.config.init_from.empty()) return task.config.init;
  const StudentConfig from = student_config(task.context.config, task.config.init_from);
  return weights_file(task.context.run.student(task.config.init_from, from.seeds.front()), from.training.ema,
                      from.training.ema.front());
}

/// The student as training begins, on rank 0: the trainer gives the others its weights. Collective.
StudentModel new_student(const StudentTask& task, const std::optional<LossNetwork>& loss_network) {
  const StudentConfig& config = task.config;
  const StageNode& node = task.context.node;
  const FieldKind& kind = find_field(config.field);
  const FieldOptions options = student_options(config, task.shape);
  const std::shared_ptr<Field> field = kind.make(options, task.seed);
  if (const std::filesystem::path init = initial_weights(task); !init.empty()) {
    run_on_all(task.context.communicator, [&] {
      if (!task.context.communicator.is_root()) return;
      const WorkingAlone alone("reading " + init.string());
      NamedTensors weights = read_tensors(init);
      // Those of a student of the run are ours already.
      if (config.init_from.empty() && kind.import_weights) weights = kind.import_weights(weights, options);
      load_tensors(*field, with_span_embedding(std::move(weights), *field), init);
      require_finite_weights(*field, init);
    });
    say("weights start from {}", init.string());
  }
  field->to(task.context.device);
  say("{} {}, seed {}: width {}, {:.2f} M parameters; {} along the {} path, coupling {}", kind.name, node.student,
      node.seed, options.channels, static_cast<double>(parameter_count(*field)) / 1e6, objective_name(config),
      config.path, config.coupling);
  if (loss_network) say("its loss compares features of {}", loss_network->name);
  return student_in_training(field, config, loss_network ? loss_network->distance : FeatureDistance());
}

/// The times of rows, float32 [n], and of a flow map their spans; drawn from (seed, purpose, index).
struct Times {
  at::Tensor t, span;
};
Times draw_times(const StudentTask& task, const Objective& objective, std::uint64_t seed, Purpose purpose,
                 const std::vector<std::int64_t>& indices) {
  const std::vector<double> listed = task.config.kind == "image" ? std::vector<double>() : task.config.times;
  std::vector<float> times, spans;
  for (const std::int64_t index : indices) {
    Draws draws(seed, purpose, static_cast<std::uint64_t>(index));
    const RowTimes drawn = listed.empty() ? objective.draw_times(draws) : RowTimes{listed[draws.below(listed.size())]};
    times.push_back(static_cast<float>(drawn.t));
    spans.push_back(static_cast<float>(drawn.span));
  }
  return {at::tensor(times), objective.is_flow_map() ? at::tensor(spans) : at::Tensor()};
}

/// What of a pair is the objective's own: images spread over their levels, signs in place of noise. Both are drawn from
/// (seed, purpose, index).
struct Draw {
  std::uint64_t seed;
  Purpose levels, signs;
  std::vector<std::int64_t> indices;
};
void prepare_for(const Objective& objective, const StudentTask& task, const Draw& draw, Pairs& pairs) {
  const Codec& codec = *task.shape.codec;
  if (codec.levels() > 0 && (task.config.dequantise || objective.is_of_density()))
    pairs.image = spread_over_levels(pairs.image, codec, draw.seed, draw.levels, draw.indices);
  if (objective.is_of_density())
    pairs.noise = sign_rows(pairs.image.sizes().slice(1).vec(), draw.seed, draw.signs, draw.indices);
}

/// {image [n, C, H, W] as models see it, z [n, C, H, W], t [n], label int64 [n]} of the rows at these positions of the
/// run; of an aligned student, what its teacher carried to z, [n, C, H, W], and the label that it was told; then the
/// image of their condition, where there is one, the spans of a flow map, float [n], and for a network with dropout the
/// positions themselves, int64 [n]. Times and label drops depend on (seed, position) only, whatever the coupling; the
/// image of a condition stays where the label is dropped.
Batch student_batch(const StudentTask& task, Coupling& coupling, const StudentModel& student, const BatchRange& range) {
  Pairs pairs = coupling.draw(range);
  const Condition condition = task.shape.condition(pairs.image, pairs.label);
  prepare_for(*student.objective, task,
              {task.seed, Purpose::flow_dequantisation, Purpose::flow_probe, range.positions()}, pairs);
  const Times times = draw_times(task, *student.objective, task.seed, Purpose::time, range.positions());
  Batch batch{pairs.image, pairs.noise, times.t, pairs.label};
  if (pairs.noised.defined()) batch.insert(batch.end(), {pairs.noised, pairs.label.clone()});
  auto* label = pairs.label.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < range.rows; ++i) {
    const std::int64_t position = range.first + i;
    Draws drop(task.seed, Purpose::label_drop, static_cast<std::uint64_t>(position));
    if (drop.uniform() < task.config.label_drop) label[i] = student.field->no_label();
  }
  if (condition.image.defined()) batch.push_back(condition.image);
  if (times.span.defined()) batch.push_back(times.span);
  if (task.config.dropout > 0) batch.push_back(at::arange(range.first, range.first + range.rows, at::kLong));
  return batch;
}

Condition condition_of(const Batch& batch, bool aligned) {
  Condition condition{batch[3], {}};
  for (std::size_t i = aligned ? 6 : 4; i < batch.size(); ++i) {
    at::Tensor& of_rows = batch[i].is_floating_point() ? condition.span : condition.positions;
    (batch[i].dim() == 1 ? of_rows : condition.image) = batch[i];
  }
  return condition;
}

at::Tensor training_loss(const StudentModel& student, Alignment* alignment, double weight, const Batch& batch) {
  const Condition condition = condition_of(batch, alignment != nullptr);
  const auto objective = [&](Field& field) {
    return student.objective->loss(field, batch[0], batch[1], batch[2], condition);
  };
  if (alignment == nullptr) return objective(*student.field);
  const Alignment::Measured measured = alignment->measure(objective, batch[4], batch[5]);
  return measured.objective + weight * measured.distance.mean();
}

/// The objective's error on held-out pairs, at fixed times; of an aligned student, the distance from the teacher's
/// states too. Collective.
nlohmann::json validate(const StudentTask& task, const Coupling& coupling, const StudentModel& student,
                        Alignment* alignment) {
  const StageContext& context = task.context;
  const HeldOutRows held_out(coupling.held_out_rows(), task.config.training.validate_rows);
  const auto seed = static_cast<std::uint64_t>(context.config.pipeline.seed);
  const auto figures = [&](const std::vector<std::int64_t>& rows) {
    Pairs pairs = coupling.held_out(rows);
    const at::Tensor labels = student.labelled ? pairs.label : at::full_like(pairs.label, student.field->no_label());
    Condition condition = task.shape.condition(pairs.image, labels);
    prepare_for(*student.objective, task, {seed, Purpose::likelihood_noise, Purpose::likelihood_probe, rows}, pairs);
    const Times times = draw_times(task, *student.objective, seed, Purpose::validation_time, rows);
    condition.span = times.span;
    const auto there = [&](const at::Tensor& tensor) { return tensor.to(context.device); };
    const auto errors = [&](Field& field) {
      return student.objective->errors(field, there(pairs.image), there(pairs.noise), there(times.t),
                                       condition.to(context.device));
    };
    if (alignment == nullptr) return errors(*student.field).unsqueeze(1);
    const auto measured = alignment->measure(errors, there(pairs.noised), there(pairs.label));
    return at::stack({measured.objective, measured.distance}, 1);
  };
  const std::vector<double> means = held_out.mean(alignment == nullptr ? 1 : 2, context.communicator, figures);
  nlohmann::json named{{"test_loss", means[0]}};
  if (alignment != nullptr) named["test_alignment"] = means[1];
  return named;
}

/// Samples by a few Euler steps.
at::Tensor sample(const StudentFlow& flow, const InitialNoise& initial) {
  return solve(flow.velocity(initial.condition), flow.start(initial.z, initial.condition), Solver::euler, Grid::uniform,
               flow.is_one_step() ? 1 : preview_nfe);
}

/// What the trainer is given; the previews are the caller's. Refers to `task` and `coupling`.
TrainingTask training_task(const StudentTask& task, Coupling& coupling, const StudentModel& student,
                           const std::shared_ptr<Alignment>& alignment) {
  const StudentConfig& config = task.config;
  const std::filesystem::path init = initial_weights(task);
  TrainingTask training;
  training.name = task.context.node.name;
  training.directory = task.context.directory();
  training.training = config.training;
  training.provenance = {{"stage", task.context.node.fingerprint},
                         {"coupling", coupling.provenance()},
                         {"init", init.empty() ? "" : hash_for_all(task.context.communicator, init)}};
  training.agree_on_batch = [&coupling](std::int64_t step) { coupling.agree(step); };
  training.batch = [=, &task, &coupling](const BatchRange& range) {
    return student_batch(task, coupling, student, range);
  };
  training.batch_state = state_of(coupling);
  training.loss = [=, weight = config.align_weight](const Batch& batch) {
    return training_loss(student, alignment.get(), weight, batch);
  };
  training.validate = [=, &task, &coupling] { return validate(task, coupling, student, alignment.get()); };
  training.validate_every = config.training.validate_every;
  training.best_of = "test_loss";
  const AlignmentFlops aligned = alignment_flops(task.context.config, task.context.node.student, task.shape);
  training.flops_per_image =
      student.objective->training_passes(values_of(task.shape)) * student.field->forward_flops() +
      loss_network_flops(task.context.config, config, task.shape) + aligned.teacher +
      forward_passes_a_training_image * aligned.maps;
  return training;
}

/// What the coupling has learnt comes first: a student that has its weights is whole.
void publish_student(const StudentTask& task, const Field& field, const Coupling& coupling,
                     const std::optional<LossNetwork>& loss_network, const TrainingResult& result) {
  const WorkingAlone alone("publishing the student");
  const StudentConfig& config = task.config;
  const std::filesystem::path directory = task.context.directory();
  const auto own = [&](const NamedTensors& trained) {
    return is_aligned(config) ? Alignment::network_of(trained) : trained;
  };
  coupling.publish(directory);
  std::map<std::string, std::string> sizes = field.sizes();
  sizes["time"] = "couplet: 0 data, 1 noise, field to noise";
  if (config.kind == "image") sizes["kind"] = "image: what it puts out at t = 1";
  publish_tensors(directory / "weights.safetensors", own(result.weights), sizes);
  for (const auto& ema : result.emas) publish_tensors(directory / ema.file, own(ema.tensors), sizes);
  nlohmann::json summary{{"student", task.context.node.student},
                         {"kind", config.kind},
                         {"coupling", config.coupling},
                         {"network", config.field},
                         {"path", config.path},
                         {"objective", objective_name(config)},
                         {"seed", task.context.node.seed},
                         {"parameters", parameter_count(field)},
                         {"images", result.steps * config.training.batch},
                         {"steps", result.steps}};
  if (loss_network) summary.update(facts_of(*loss_network));
  publish_file(directory / "summary.json", summary.dump(2) + "\n");
}

std::int64_t images_of(const DatasetShape& shape) {
  return std::accumulate(shape.class_counts.begin(), shape.class_counts.end(), std::int64_t{0});
}

/// Judges a coupling that reads no table by what it draws; tables are judged by their rows (inspect, report).
/// Collective.
void publish_quality(const StudentTask& task, Coupling& coupling, std::int64_t steps) {
  const StageContext& context = task.context;
  const std::string& name = task.config.coupling;
  if (find_coupling(name).has_table()) return;
  nlohmann::ordered_json quality =
      judge_drawn_pairs(coupling, steps, task.config.training.batch, images_of(task.shape), context.communicator);
  if (!context.communicator.is_root()) return;
  quality["coupling"] = name;
  publish_file(context.run.drawn_quality(context.node.name), quality.dump(2) + "\n");
}

}  // namespace

std::optional<BatchState> state_of(Coupling& coupling) {
  if (coupling.state().empty()) return std::nullopt;
  return BatchState{.file = "coupling.safetensors",
                    .state = [&coupling] { return coupling.state(); },
                    .restore = [&coupling](const NamedTensors& state) { coupling.restore(state); }};
}

void student(StageContext& context) {
  const Config& config = context.config;
  require_alignment(config, context.node.student);
  const StudentTask task{context, student_config(config, context.node.student),
                         student_seed(config.pipeline.seed, context.node.seed),
                         dataset_shape(RowTable(seen_rows(config, context.run, "train"), dataset_format))};
  const std::unique_ptr<Coupling> coupling = open_coupling(task, find_coupling(task.config.coupling));
  const std::optional<LossNetwork> loss_network = load_loss_network(context, task.config, task.shape);
  const StudentModel student = new_student(task, loss_network);
  const std::shared_ptr<Alignment> alignment = load_alignment(context, task.shape, student.field);
  torch::nn::Module& trained = alignment ? static_cast<torch::nn::Module&>(*alignment) : *student.field;
  TrainingTask training = training_task(task, *coupling, student, alignment);

  const StudentFlow flow(student, {}, task.config.training.precision);
  Previewer previewer(context, task.shape, task.config.preview,
                      [&](const InitialNoise& initial) { return sample(flow, initial.to(context.device)); });
  // Points are no pictures; the report draws them.
  if (!has_points(task.context.config.prepare)) previewer.give_to(training);

  const TrainingResult result = train(training, trained, config.pipeline, context.communicator, context.device);
  if (context.communicator.is_root()) publish_student(task, *student.field, *coupling, loss_network, result);
  publish_quality(task, *coupling, result.steps);  // draws on: what the coupling has learnt is published before
}

}  // namespace couplet
