#include "stages/cost/stage_load.h"

#include "method/couplings/coupling.h"
#include "method/statistics/coupling_quality.h"
#include "method/statistics/noise_models.h"
#include "method/tables/coupling_table.h"
#include "method/tables/row_subset.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/mpi_communicator.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/optimizer/schedule.h"
#include "stages/cost/table_reading.h"
#include "stages/couple/table_makers.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/evaluate/pictures.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/trained/alignment.h"
#include "stages/trained/models.h"
#include "stages/trained/preview.h"
#include "storage/error.h"
#include "storage/tables/row_shard_layout.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

namespace couplet {

namespace {

constexpr double check_bytes = 16;  // of MpiCommunicator's message
constexpr double largest_gap = 64;  // bytes, of storage/tables/row_shard.cpp: what lies between two rows is read, too
constexpr double figures_beside_features = 3;  // of a sample that is scored (method/scoring/scorer.cpp)
// Of a table: its manifest, and its first shard, which is opened twice (its first bytes, then by HDF5).
constexpr double opens_a_table = 3, opens_a_shard = 2;
// Counted, as the many short ones are not worth a formula each: what ranks agree on before the first step of training
// and behind the last, what the root writes down about it, and the files of a source.
constexpr double agreements_of_training = 15, agreement_bytes = 100, opens_of_a_training = 8, opens_of_a_source = 10,
                 opens_of_an_evaluation = 18, opens_without_model = 5;
// Of an evaluation's picture, its share of pixels' bytes; of a score's record, of which all are written after each; of
// results.json.
constexpr double picture_share = 0.58, record_bytes = 2000, results_bytes = 50e3, opens_of_a_score = 10;
constexpr double step_record_bytes = 550;  // of metrics.jsonl and of the curves

std::int64_t rounds_of(std::int64_t rows, std::int64_t slice, std::int64_t ranks) {
  return (rows + slice * ranks - 1) / (slice * ranks);
}

void add(StageLoad& load, const char* operation, double calls, double bytes_a_call) {
  if (calls <= 0) return;
  CollectiveLoad& sum = load.collectives[operation];
  sum.calls += calls;
  sum.bytes += calls * bytes_a_call;
}

/// Work by for_each_slice: each round the ranks tell whether they are well, and hand round what they made.
void add_slices(StageLoad& load, std::int64_t rows, std::int64_t slice, double row_bytes, bool can_stop) {
  const double rounds = as_double(rounds_of(rows, slice, load.ranks));
  add(load, "all_gather", rounds * (can_stop ? 2 : 1), 8);
  add(load, "all_gather", rounds, as_double(slice) * row_bytes);
}

/// By which the ranks see that they mean the same call: before every one but those that training repeats most.
void add_checks(StageLoad& load) {
  double repeated = 0, others = 0;
  for (const auto& [operation, calls] : load.collectives)
    (operation == "start_all_reduce" || operation == "start_reduce_scatter" || operation == "all_gather_parts"
         ? repeated
         : others) += calls.calls;
  if (load.ranks > 1)
    add(load, "check", others + std::min(repeated, as_double(MpiCommunicator::checked_repeats)), check_bytes);
}

/// Bytes that are read for each of many rows of which a rank wants one in `ranks`, of `element` bytes each: rows that
/// are near to each other are read with what lies between them.
double scattered_bytes(double element, std::int64_t ranks) {
  const double wanted = 1 / as_double(ranks);
  double between = 0;
  for (double gap = 1; gap * element <= largest_gap; ++gap) between += gap * wanted * std::pow(1 - wanted, gap);
  return element * (1 + between);
}

double touched(double shards, double draws) {
  return shards <= 1 ? shards : shards * (1 - std::pow(1 - 1 / shards, draws));
}

/// Each rank opens the table and whatever shards its rows lie in.
void add_opens(StageLoad& load, const TableReading& table, double shards) {
  const double ranks = as_double(load.ranks);
  load.opens += ranks * (opens_a_table + opens_a_shard * (std::max(shards, 1.0) - 1));
  load.looks += ranks * std::max(shards, 1.0);
  load.opens_at_start += ranks * opens_a_table;
  load.bytes_read += ranks * std::max(shards, 1.0) * table.opening_bytes();
}

/// Training reads what RowStream does: whole windows of shuffled blocks, one ahead, each rank its rows of them.
void add_stream(StageLoad& load, const TableReading& table, const TrainingConfig& training, bool verifies) {
  const double ranks = as_double(load.ranks), window = table.window_blocks * table.block_rows;
  const double images = as_double(training_steps(training) * training.batch);
  const double all_bytes = table.row_bytes + table.small_bytes;
  if (window >= table.rows) {  // the whole table, once
    add_opens(load, table, table.shards());
    load.bytes_read += ranks * table.rows * all_bytes;
    return;
  }
  // One window is read ahead; two before training, for the rows that memory is measured with.
  const double measured = 2 * window * std::min(1.0, 2 * ranks / as_double(training.batch));
  const double positions = (std::ceil(images / window) + 1) * window + measured;
  add_opens(load, table, touched(table.shards(), std::min(positions / ranks, positions / table.block_rows)));
  const double checks = load.ranks > 1 && verifies ? table.columns * scattered_bytes(8, load.ranks) : 0;
  const double small = load.ranks > 1 ? scattered_bytes(table.small_bytes, load.ranks) : table.small_bytes;
  load.bytes_read += positions * (table.row_bytes + small + checks);
}

/// Held-out rows by their numbers, dealt out in slices; and the shards of the table that they lie in.
void add_held_out(StageLoad& load, const TableReading& table, double times, std::int64_t rows, double figure_bytes) {
  const double spacing = table.rows / as_double(rows);
  const double checks = table.columns * 8 * std::clamp(spacing, 1.0, largest_gap / 8 + 1);
  load.bytes_read +=
      times * as_double(rows) * (table.row_bytes + table.small_bytes + (spacing > 1 ? checks : checks / 2));
  for (double done = 0; done < times; ++done) add_slices(load, rows, held_out_slice_rows, figure_bytes, false);
}

std::int64_t validated_rows(const TrainingConfig& training, const CostModel& model) {
  return training.validate_rows > 0 ? std::min(training.validate_rows, model.dataset.test_rows)
                                    : model.dataset.test_rows;
}

/// Classifiers are published by their averages alone.
bool publishes_raw_weights(const StageLoad& load) {
  return load.kind == "teacher" || load.kind == "student";
}

/// What every stage that trains does, whatever it trains on.
void add_training(StageLoad& load, const TrainingConfig& training, const PreviewConfig& preview,
                  const CostModel& model) {
  const PipelineConfig& pipeline = model.config.pipeline;
  const double ranks = as_double(load.ranks), steps = as_double(training_steps(training));
  const ModelLayout& layout = load.layout;
  load.unit = "images";
  load.units = training.batch;
  load.rounds = steps;

  const double buckets = as_double(std::ssize(layout.bucket_bytes)), mean_bucket = layout.reduced_bytes() / buckets;
  const double emas = as_double(std::ssize(training.ema)),
               groups = pipeline.reproducible ? as_double(pipeline.slices) : ranks;
  load.slices = pipeline.reproducible ? pipeline.slices : 0;
  if (load.ranks > 1) {  // in a tree (sum_in_tree), a rank has added up its own groups before
    const char* const sum = pipeline.shard_optimizer ? "start_reduce_scatter" : "start_all_reduce";
    add(load, pipeline.reproducible ? "all_gather" : sum, steps * buckets, mean_bucket);
    if (pipeline.shard_optimizer) add(load, "all_gather_parts", steps * buckets, mean_bucket);
  }
  add(load, "all_gather", steps, 8 * (3 + 2 * groups / ranks));  // what each step's ranks report
  add(load, "broadcast", as_double(layout.tensors), layout.bytes / as_double(layout.tensors));
  add(load, "all_gather", agreements_of_training, agreement_bytes);

  // Validation may give the best figure so far, which is kept.
  const double validations = training.validate_every > 0 ? std::ceil(steps / as_double(training.validate_every)) : 1;
  const double due = pipeline.checkpoint_every > 0 ? std::ceil(steps / as_double(pipeline.checkpoint_every)) - 1 : 0;
  const bool coincide = training.validate_every > 0 && pipeline.checkpoint_every > 0 &&
                        training.validate_every % pipeline.checkpoint_every == 0;
  load.checkpoints = due + (coincide ? 1 : validations);
  load.checkpoint_bytes = layout.bytes + emas * layout.bytes + 2 * layout.trained_bytes;
  load.optimizer_parts = pipeline.shard_optimizer ? load.ranks : 1;
  load.averages = emas;
  const double waiting = std::floor(std::log2(std::max(groups / ranks, 1.0)));  // sums in the tree (GradientTree)
  load.state_bytes = layout.bytes + (1 + waiting + emas) * layout.trained_bytes +
                     2 * layout.trained_bytes / as_double(load.optimizer_parts);
  add(load, "all_gather", 2 * (load.checkpoints + 1), 4);
  if (pipeline.shard_optimizer) add(load, "gather_at_root", 2 * buckets * load.checkpoints, mean_bucket / ranks);
  // Each file is made, flushed, and its folder flushed, or read once to be hashed: of a checkpoint its tensors, state
  // and the name of the latest; that of the best from the first validation on; metrics and curves are flushed before.
  const double tensor_files = 2 + emas, published = publishes_raw_weights(load) ? 1 + emas : 1;
  const double with_best = training.validate_every > 0
                               ? std::max(load.checkpoints * (1 - as_double(training.validate_every) / steps), 0.0) + 1
                               : 1;
  load.bytes_written += load.checkpoints * load.checkpoint_bytes + published * layout.bytes + steps * step_record_bytes;
  load.bytes_read += load.checkpoints * load.checkpoint_bytes;
  load.opens += load.checkpoints * (3 * tensor_files + 11) + 3 * with_best + 3 * published + opens_of_a_training;

  if (preview.every <= 0) return;
  const DatasetShape& shape = model.dataset.shape;
  const bool scored = is_scored(preview, model);
  const double row_bytes = 4 * (scored ? as_double(model.config.features.dimension) + figures_beside_features
                                       : as_double(shape.channels * shape.size * shape.size));
  for (std::int64_t done = 0; done < training_steps(training) / preview.every; ++done)
    add_slices(load, scored ? preview.samples : previewed_samples, scored ? scored_slice_rows : pictured_slice_rows,
               row_bytes, false);
}

double validations_of(const TrainingConfig& training) {
  const std::int64_t steps = training_steps(training);
  return training.validate_every > 0 ? std::ceil(as_double(steps) / as_double(training.validate_every)) : 1;
}

void add_classifier(StageLoad& load, const CostModel& model, bool describes) {
  const FeaturesConfig& config = model.config.features;
  add_training(load, config.training, {}, model);
  const TableReading train = dataset_reading(model, as_double(model.dataset.training_images)),
                     test = dataset_reading(model, as_double(model.dataset.test_rows));
  add_stream(load, train, config.training, model.config.storage.verify_reads);
  add_opens(load, test, test.shards());
  add_held_out(load, test, 2 * validations_of(config.training), validated_rows(config.training, model), 16);
  if (!describes) return;
  for (const TableReading& table : {train, test}) {
    add_slices(load, static_cast<std::int64_t>(table.rows), described_slice_rows, 8 * as_double(config.dimension + 1),
               true);
    load.bytes_read += table.rows * (table.row_bytes + table.small_bytes);
  }
}

/// Reads images alone.
void add_autoencoder(StageLoad& load, const CostModel& model) {
  const AutoencoderConfig& config = model.config.autoencoder;
  add_training(load, config.training, {}, model);
  TableReading train = image_reading(model, model.dataset.training_images),
               test = image_reading(model, model.dataset.test_rows);
  for (TableReading* const table : {&train, &test}) {
    table->small_bytes = 0;
    table->columns = 1;
  }
  const double figure_bytes = 8 * as_double(4 + 2 * config.latent_channels);
  add_stream(load, train, config.training, model.config.storage.verify_reads);
  add_opens(load, test, test.shards());
  add_held_out(load, test, 2 * validations_of(config.training), validated_rows(config.training, model), figure_bytes);
  add_held_out(load, test, 1, model.dataset.test_rows, figure_bytes);
}

/// A model of a table's noise; some blocks of its rows are held back, on which it is judged, `times` on all of them.
void add_noise_model(StageLoad& load, const std::string& table, const TrainingConfig& training,
                     std::int64_t window_blocks, double times, const CostModel& model) {
  add_training(load, training, {}, model);
  TableReading trained = table_reading(find_run_table(model.config, table), {"noise"}, model), held_back = trained;
  trained.window_blocks = as_double(window_blocks);
  const auto blocks = static_cast<std::int64_t>(std::ceil(trained.rows / trained.block_rows));
  held_back.rows = std::min(trained.rows, as_double(held_out_blocks(blocks)) * trained.block_rows);
  trained.rows -= held_back.rows;
  const auto all = static_cast<std::int64_t>(held_back.rows);
  const std::int64_t validated = training.validate_rows > 0 ? std::min(training.validate_rows, all) : all;
  add_stream(load, trained, training, model.config.storage.verify_reads);
  add_opens(load, dataset_reading(model, 1), 1);
  add_held_out(load, held_back, 2 * validations_of(training), validated, 8);
  add_held_out(load, held_back, times, all, 8);
}

void add_teacher(StageLoad& load, const CostModel& model) {
  const TeacherConfig& config = model.config.teacher;
  add_training(load, config.training, config.preview, model);
  const TableReading train = dataset_reading(model, as_double(model.dataset.train_rows)),
                     test = dataset_reading(model, as_double(model.dataset.test_rows));
  add_stream(load, train, config.training, model.config.storage.verify_reads);
  add_opens(load, test, test.shards());
  add_held_out(load, test, 2 * validations_of(config.training), validated_rows(config.training, model), 8);
  add_held_out(load, test, 1, model.dataset.test_rows, 8);
}

/// The published weights of a node that trains: rank 0 reads them and gives them to the others.
void add_weights(StageLoad& load, const CostModel& model, const std::string& name, double times) {
  const StageNode* const node = look_for_node(model.graph, name);
  if (node == nullptr) return;
  const ModelLayout layout = layout_of(*node, model, false, 1);
  add(load, "broadcast", times * as_double(layout.tensors), layout.bytes / as_double(layout.tensors));
  load.bytes_read += times * layout.bytes;
  load.opens += times;
}

void add_student(StageLoad& load, const StageNode& node, const CostModel& model) {
  const StudentConfig config = student_config(model.config, node.student);
  add_training(load, config.training, config.preview, model);
  const TableReading train = student_reading(config, model, load.ranks);
  TableReading test = train;
  test.rows = as_double(model.dataset.test_rows);
  add_stream(load, train, config.training, model.config.storage.verify_reads);
  add_opens(load, test, test.shards());
  add_opens(load, dataset_reading(model, 1), 1);
  const bool aligned = is_aligned(config);  // it has a second figure
  add_held_out(load, test, 2 * validations_of(config.training), validated_rows(config.training, model),
               aligned ? 16 : 8);
  if (aligned) add_weights(load, model, "teacher", 1);
  if (find_coupling(config.coupling.empty() ? node.student : config.coupling).has_table()) return;
  // It is judged by pairs that it draws on (stages/drawn_pairs.cpp).
  const DatasetShape& shape = model.dataset.shape;
  const std::int64_t values = shape.channels * shape.size * shape.size;
  const double judged = as_double(std::min(model.dataset.train_rows, judged_rows(values)));
  const double draws = std::ceil(judged / as_double(config.training.batch));
  add(load, "gather_at_root", 3 * draws,
      as_double(config.training.batch) / as_double(load.ranks) * (8 * as_double(values) + 8) / 3);
  add(load, "all_gather", 2 * draws, 8);
  load.bytes_read += draws * as_double(config.training.batch) * (train.row_bytes + train.small_bytes);
}

/// The two splits' shards: what ranks make of them, one after the other.
void add_shards(StageLoad& load, double train_shards, double test_shards) {
  load.unit = "shards";
  load.units = static_cast<std::int64_t>(train_shards + test_shards);
  load.opens += 3 * (train_shards + test_shards);  // made, flushed, and its folder flushed
}

void add_prepare(StageLoad& load, const CostModel& model, const StageCost& cost) {
  const TableReading train = image_reading(model, model.dataset.training_images),
                     test = image_reading(model, model.dataset.test_rows);
  const bool is_latents = load.kind == "latents";  // which may be of mirror images besides
  const double shards =
      dataset_reading(model, as_double(is_latents ? model.dataset.train_rows : model.dataset.training_images)).shards();
  add_shards(load, shards, test.shards());
  load.opens += opens_a_shard * (shards + test.shards() + 2) + opens_of_a_source * (2 + as_double(load.ranks));
  load.bytes_written += cost.disk.dataset / shard_overhead;
  load.bytes_read += train.rows * train.row_bytes + test.rows * test.row_bytes;  // at most: sources are compressed
  const auto rounds = [&](double of_split) { return std::ceil(of_split / as_double(load.ranks)); };
  add(load, "all_gather", rounds(shards) + rounds(test.shards()), 8);  // whether to stop
  add(load, "all_gather", 10, agreement_bytes);
}

void add_couple(StageLoad& load, const StageNode& node, const CostModel& model, const StageCost& cost) {
  const CoupleConfig config = couple_config(model.config, node.table);
  const RunTable table = find_run_table(model.config, node.table);
  const CouplingRows rows{model.dataset.train_rows, config.flips, config.replicates};
  const double train_shards = std::ceil(as_double(rows.rows()) / as_double(config.shard_rows)),
               test_shards = std::ceil(as_double(model.dataset.test_rows) / as_double(config.shard_rows));
  add_shards(load, train_shards, test_shards);
  load.bytes_written += cost.disk.coupling / shard_overhead;
  load.opens += 2 * opens_a_shard * (train_shards + test_shards) + 10;  // sums and hashes of what is made, manifests
  add(load, "all_gather", std::ceil((train_shards + test_shards) / as_double(load.ranks)), 8);
  add(load, "all_gather", 12, agreement_bytes);
  // A teacher or a student reads the data set; what other makers read, and maps of noise, is not counted.
  load.knows_reading = table.base.empty() && maker_of_table(model.config, node.table).shards != nullptr;
  if (!load.knows_reading) return;
  const TableReading train = dataset_reading(model, as_double(model.dataset.train_rows)),
                     test = dataset_reading(model, as_double(model.dataset.test_rows));
  add_opens(load, train, touched(train.shards(), 2 * (train_shards / as_double(load.ranks)) + 1));
  add_opens(load, test, std::min(test.shards(), 1 + test_shards / as_double(load.ranks)));
  add_opens(load, train, 1);
  load.bytes_read += (train.rows + test.rows) * (train.row_bytes + train.small_bytes);
  const std::string maker =
      table.student.empty()
          ? "teacher"
          : "student/" + model_name(table.student, student_config(model.config, table.student).seeds.front());
  if (!node.runs_after(maker)) return;
  add_weights(load, model, maker, 1);
  load.bytes_read += 2 * layout_of(find_node(model.graph, maker), model, false, 1).bytes;  // hashed twice
}

/// Training rows are read for the means of their classes, for their covariances and to be turned into the axes of
/// these; held-out ones for the last, by a noise classifier, and before a map of them.
void add_measured_noise(StageLoad& load, const StageNode& node, const CostModel& model) {
  const CoupleConfig couple = couple_config(model.config, node.measured);
  const CouplingRows rows{model.dataset.train_rows, couple.flips, couple.replicates};
  const std::int64_t most = model.config.evaluate.gap_rows;
  const auto measured = [&](std::int64_t there) { return as_double(most > 0 ? std::min(most, there) : there); };
  const DatasetShape& shape = model.dataset.shape;
  const double values = as_double(shape.channels * shape.size * shape.size);
  const double row_bytes = values * (couple.noise_type == "float16" ? 2 : 4) + 4;
  load.unit = "slices";
  load.units =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(measured(rows.rows())) / model.config.evaluate.slice_rows);
  load.bytes_read += 3 * measured(rows.rows()) * row_bytes;
  const double held_out_times = node.runs_after("noise-classifier/" + node.measured) ? 2 : 1;
  load.bytes_read += held_out_times * measured(model.dataset.test_rows) * row_bytes;
  if (!find_run_table(model.config, node.measured).base.empty())
    load.bytes_read += as_double(model.dataset.test_rows) * row_bytes;
  if (values <= as_double(most_fitted_values))
    add(load, "all_reduce", 7, 8 * values * values * as_double(2 * shape.classes + 1) / 7);
}

/// The slices of its scores; what else is measured of a model is left to StageCost.
void add_evaluation(StageLoad& load, const StageNode& node, const CostModel& model) {
  const EvaluateConfig& evaluate = model.config.evaluate;
  double scores = 1, variants = 1, pictures = 1;
  load.opens += node.student.empty() && !node.runs_after("teacher") ? opens_without_model : opens_of_an_evaluation;
  if (!node.measured.empty()) return add_measured_noise(load, node, model);
  std::int64_t samples = evaluate.samples;
  if (!node.student.empty()) {
    const StudentConfig student = student_config(model.config, node.student);
    const auto own = table_of_student(model.config, node.student);
    const bool has_noise = own && own->has_noise;
    const auto settings = sampling_settings(evaluate, student, has_noise ? own->name : "", has_noise);
    scores = pictures = as_double(std::ssize(settings));
    const double from_table =
        as_double(std::ranges::count_if(settings, [](const auto& one) { return !one.table.empty(); }));
    load.bytes_read +=
        from_table * as_double(std::min(samples, model.dataset.test_rows)) *
        (2 * as_double(model.dataset.shape.channels * model.dataset.shape.size * model.dataset.shape.size));
    load.opens += 8 * from_table * as_double(load.ranks);
  } else if (node.runs_after("teacher")) {
    scores = as_double(std::ssize(evaluate.sampling_seeds));
    pictures = variants = denoising_std(model.config.teacher) > 0 ? 2 : 1;
  } else {
    samples = model.dataset.test_rows;
    pictures = 0;
  }
  load.unit = "slices";
  load.units = (samples + evaluate.slice_rows - 1) / evaluate.slice_rows;
  load.rounds = scores;
  const double width = 4 * variants * (as_double(model.config.features.dimension) + figures_beside_features);
  for (double done = 0; done < scores; ++done) add_slices(load, samples, evaluate.slice_rows, width, true);
  // The journal of what is computed, pictures, and records.
  const double pixels = as_double(model.dataset.shape.channels * model.dataset.shape.size * model.dataset.shape.size);
  load.bytes_written += scores * as_double(samples) * width +
                        pictures * as_double(sheet_images(evaluate.grid_rows)) * pixels * picture_share +
                        record_bytes * scores * (scores + 1) / 2 + (node.student.empty() ? 0 : results_bytes);
  load.opens += opens_of_a_score * scores;
  add(load, "all_gather", 8 + scores, agreement_bytes);
  add_weights(load, model, "features", 2);  // of the classifier, which describes samples and says their class
  if (!node.student.empty())
    add_weights(load, model, "student/" + model_name(node.student, node.seed), 1);
  else if (node.runs_after("teacher"))
    add_weights(load, model, "teacher", 1);
  // Each rank reads the moments of the training images' features.
  const double moments = 8 * as_double(model.config.features.dimension * model.config.features.dimension);
  if (look_for_node(model.graph, "features") != nullptr) load.bytes_read += as_double(load.ranks) * moments;
  const TableReading test = dataset_reading(model, as_double(model.dataset.test_rows));
  for (int opened = 0; opened < 2; ++opened) add_opens(load, test, 1);
  if (node.student.empty() && !node.runs_after("teacher"))
    load.bytes_read += test.rows * (test.row_bytes + test.small_bytes);
}

}  // namespace

double StageLoad::calls() const {
  double sum = 0;
  for (const auto& [operation, load] : collectives) sum += load.calls;
  return sum;
}

double StageLoad::network_bytes() const {
  const double ranks_here = as_double(ranks), share = (ranks_here - 1) / ranks_here;
  double sum = 0;
  for (const auto& [operation, load] : collectives) {
    if (operation == "start_all_reduce" || operation == "all_reduce" || operation == "check")
      sum += 2 * share * load.bytes;
    else if (operation == "all_gather")
      sum += (ranks_here - 1) * load.bytes;
    else
      sum += share * load.bytes;
  }
  return ranks > 1 ? sum : 0;
}

StageLoad load_of(const StageNode& node, const CostModel& model, const StageCost& cost, std::int64_t ranks,
                  bool on_gpu) {
  StageLoad load;
  load.stage = node.name;
  load.kind = node.kind;
  load.ranks = ranks;
  load.flops = cost.flops;
  load.layout =
      layout_of(node, model, on_gpu, model.config.pipeline.reproducible ? model.config.pipeline.slices : ranks);
  if (node.kind == "prepare" || node.kind == "latents")
    add_prepare(load, model, cost);
  else if (node.kind == "features" || node.kind == "loss-features")
    add_classifier(load, model, node.kind == "features");
  else if (node.kind == "teacher")
    add_teacher(load, model);
  else if (node.kind == "couple")
    add_couple(load, node, model, cost);
  else if (node.kind == "student")
    add_student(load, node, model);
  else if (node.kind == "autoencoder")
    add_autoencoder(load, model);
  else if (node.kind == "gaussianiser")  // judged on all rows before and behind
    add_noise_model(load, node.base, model.config.gaussianiser.training, model.config.gaussianiser.window_blocks, 2,
                    model);
  else if (node.kind == "noise-classifier")
    add_noise_model(load, node.measured, model.config.noise_classifier.training, model.config.prepare.window_blocks, 0,
                    model);
  else if (node.kind == "evaluate")
    add_evaluation(load, node, model);
  else if (node.kind != "report")
    fail("{}: nothing is known of what stages of the kind '{}' ask of a machine", node.name, node.kind);
  if (ranks == 1)
    load.collectives.clear();
  else
    add_checks(load);
  return load;
}

}  // namespace couplet
