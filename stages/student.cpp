#include "stages/student.h"

#include "method/sampling/guided_field.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/training/trainer.h"
#include "stages/trained/models.h"
#include "stages/trained/preview.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"

#include <torch/torch.h>

namespace couplet {
namespace {

constexpr std::int64_t preview_nfe = 4;

/// A table that the teacher has filled belongs to the run's teacher.
void require_same_teacher(const nlohmann::json& pairs, const RunDirectory& run) {
  const std::string teacher = hash_file(run.teacher_ema());
  const std::string made_with = pairs.at("teacher").get<std::string>();
  if (made_with != teacher) {
    fail("{} was made with teacher {}, but {} is {}: redo the couple stage (--redo couple)", run.coupling().string(),
         made_with, run.teacher_ema().string(), teacher);
  }
}

std::unique_ptr<Coupling> open_coupling(const StageContext& context, const CouplingKind& kind, std::uint64_t seed) {
  const Config& config = context.config;
  CouplingSources sources;
  sources.train_images = context.run.train_images();
  sources.test_images = context.run.test_images();
  if (kind.has_table()) {
    sources.train_table = context.run.coupling();
    sources.test_table = context.run.coupling_test();
  }
  sources.reads = training_reads(config.storage);
  sources.flips = config.couple.flips;
  sources.replicates = config.couple.replicates;
  sources.block_rows = config.couple.block_rows;
  sources.window_blocks = config.student.window_blocks;
  sources.seed = seed;
  sources.held_out_seed = static_cast<std::uint64_t>(config.pipeline.seed);
  std::unique_ptr<Coupling> coupling = kind.make(sources);
  if (kind.table_of_teacher) require_same_teacher(coupling->provenance(), context.run);
  return coupling;
}

/// The student as training begins.
StudentModel new_student(const StageContext& context, const DatasetShape& shape, std::uint64_t seed) {
  const StudentConfig& config = context.config.student;
  const FieldKind& kind = find_field(config.field);
  const FieldOptions options = student_options(config, shape);
  const std::shared_ptr<Field> field = kind.make(options, seed);
  if (!config.init.empty()) {
    const NamedTensors published = read_tensors(config.init);
    load_tensors(*field, kind.import_weights ? kind.import_weights(published) : published, config.init);
    say("weights start from {}", config.init);
  }
  field->to(context.device);
  say("{} {}, seed {}: depth {}, width {}, {} heads, {:.2f} M parameters; {} along the {} path", kind.name,
      context.node.coupling, context.node.seed, options.depth, options.channels, options.heads,
      static_cast<double>(parameter_count(*field)) / 1e6, config.objective, config.path);
  return {field, student_objective(config)};
}

/// The time of a row, drawn from (seed, purpose, index).
float draw_time(const Objective& objective, std::uint64_t seed, Purpose purpose, std::int64_t index) {
  Draws draws(seed, purpose, static_cast<std::uint64_t>(index));
  return static_cast<float>(objective.draw_time(draws));
}

/// {image [n, C, H, W] as models see it, z [n, C, H, W], t [n], label int64 [n]} of the rows at these positions of the
/// run. Times and label drops depend on (seed, position) only, whatever the coupling.
Batch student_batch(Coupling& coupling, const BatchRange& range, const StudentConfig& config, const Codec& codec,
                    const StudentModel& student, std::uint64_t seed) {
  const Pairs pairs = coupling.draw(range);
  const at::Tensor times = torch::empty({range.rows}, torch::kFloat32);
  auto* time = times.data_ptr<float>();
  auto* label = pairs.label.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < range.rows; ++i) {
    const std::int64_t position = range.first + i;
    time[i] = draw_time(*student.objective, seed, Purpose::time, position);
    Draws drop(seed, Purpose::label_drop, static_cast<std::uint64_t>(position));
    if (drop.uniform() < config.label_drop) label[i] = student.field->no_label();
  }
  return {codec.encode(pairs.image), pairs.noise, times, pairs.label};
}

/// The objective's error on held-out pairs, at fixed times. Collective.
double validate(const StudentModel& student, const Coupling& coupling, const StageContext& context,
                const Codec& codec) {
  const HeldOutRows held_out(coupling.held_out_rows(), context.config.student.training.validate_rows);
  const auto seed = static_cast<std::uint64_t>(context.config.pipeline.seed);
  return held_out.mean(1, context.communicator, [&](const std::vector<std::int64_t>& rows) {
    const Pairs pairs = coupling.held_out(rows);
    std::vector<float> times;
    for (const std::int64_t row : rows)
      times.push_back(draw_time(*student.objective, seed, Purpose::validation_time, row));
    const auto there = [&](const at::Tensor& tensor) { return tensor.to(context.device); };
    return student.objective
        ->errors(*student.field, there(codec.encode(pairs.image)), there(pairs.noise), there(torch::tensor(times)),
                 {there(pairs.label), {}})
        .unsqueeze(1);
  })[0];
}

/// Samples by a few Euler steps.
at::Tensor sample(const StudentFlow& flow, const InitialNoise& initial) {
  return solve(flow.velocity(initial.condition), flow.start(initial.z), Solver::euler, Grid::uniform, preview_nfe);
}

/// What a student is trained on and measured by; the previews are the caller's.
TrainingTask student_task(const StageContext& context, Coupling& coupling, const DatasetShape& shape,
                          const StudentModel& student, std::uint64_t seed) {
  const StudentConfig& config = context.config.student;
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.training;
  task.provenance = {{"stage", context.fingerprint},
                     {"coupling", coupling.provenance()},
                     {"init", config.init.empty() ? "" : hash_file(config.init)}};
  task.batch = [=, &coupling, &config](const BatchRange& range) {
    return student_batch(coupling, range, config, *shape.codec, student, seed);
  };
  task.batch_state = state_of(coupling);
  task.loss = [=](const Batch& batch) {
    return student.objective->loss(*student.field, batch[0], batch[1], batch[2], {batch[3], {}});
  };
  task.validate = [=, &context, &coupling] {
    return nlohmann::json{{"test_loss", validate(student, coupling, context, *shape.codec)}};
  };
  task.validate_every = config.training.validate_every;
  task.best_of = "test_loss";
  task.flops_per_image = forward_passes_a_training_image * student.field->forward_flops();
  return task;
}

void publish_student(const StageContext& context, const CouplingKind& coupling, const Field& field,
                     const TrainingResult& result) {
  const Busy busy("publishing the student");
  const StudentConfig& config = context.config.student;
  std::map<std::string, std::string> sizes = field.sizes();
  sizes["time"] = "couplet: 0 data, 1 noise, field to noise";
  publish_tensors(context.directory() / "weights.safetensors", result.weights, sizes);
  for (const auto& ema : result.emas) publish_tensors(context.directory() / ema.file, ema.tensors, sizes);
  publish_file(context.directory() / "summary.json", nlohmann::json{{"coupling", coupling.name},
                                                                    {"field", config.field},
                                                                    {"path", config.path},
                                                                    {"objective", config.objective},
                                                                    {"seed", context.node.seed},
                                                                    {"parameters", parameter_count(field)},
                                                                    {"images", result.steps * config.training.batch},
                                                                    {"steps", result.steps}}
                                                             .dump(2) +
                                                         "\n");
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
  const std::uint64_t seed = student_seed(config.pipeline.seed, context.node.seed);
  const DatasetShape shape = dataset_shape(RowTable(context.run.train_images(), "couplet-dataset"));
  const CouplingKind& kind = student_coupling(config.student, context.node.coupling);
  const std::unique_ptr<Coupling> coupling = open_coupling(context, kind, seed);
  const StudentModel student = new_student(context, shape, seed);
  TrainingTask task = student_task(context, *coupling, shape, student, seed);

  const StudentFlow flow(student, {}, config.student.training.precision);
  Previewer previewer(context, shape, config.student.preview);
  task.preview = [&] {
    return previewer.make([&](const InitialNoise& noise) { return sample(flow, noise.to(context.device)); });
  };
  task.preview_every = config.student.preview.every;

  const TrainingResult result = train(task, *student.field, config.pipeline, context.communicator, context.device);
  if (context.communicator.is_root()) publish_student(context, kind, *student.field, result);
}

}  // namespace couplet
