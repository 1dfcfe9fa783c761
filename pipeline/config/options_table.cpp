// The table of options. `couplet config` prints it.
#include "pipeline/config/options.h"

#include "storage/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace couplet {

namespace {

constexpr auto result = OptionKind::result;
constexpr auto execution = OptionKind::execution;
constexpr double many = 1e15;                        // no meaningful limit for counts
constexpr double largest_seed = 9007199254740992.0;  // 2^53: exact in every reader's JSON

#define FIELD(name) [](Config& config) -> ConfigField { return &config.name; }

/// An option that came after runs had been made without it: at its default it enters no fingerprint, so that they
/// stay what they are.
Option later(Option option) {
  option.came_later = true;
  return option;
}

/// A text that names a file or a folder.
Option path(Option option) {
  option.is_path = true;
  return option;
}

void add_pipeline(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"pipeline.seed", result, FIELD(pipeline.seed), "0", "", "seed of all randomness", 0, largest_seed},
       {"pipeline.ranks", execution, FIELD(pipeline.ranks), "0", "processes",
        "ranks of `couplet run`; 0: one a GPU; on a CPU two, or one where there is one core", 0, 4096},
       {"pipeline.threads", execution, FIELD(pipeline.threads), "0", "threads",
        "CPU threads a rank; 0: the host's cores divided by its ranks", 0, 1024},
       {"pipeline.device",
        execution,
        FIELD(pipeline.device),
        "auto",
        "",
        "where tensors live; auto: CUDA if there is a GPU, and an error in a job whose GPUs cannot be used",
        0,
        0,
        {"auto", "cpu", "cuda"}},
       {"pipeline.checkpoint-every", execution, FIELD(pipeline.checkpoint_every), "200", "steps",
        "interval of checkpoints", 1, many},
       {"pipeline.keep-checkpoints", execution, FIELD(pipeline.keep_checkpoints), "2", "checkpoints",
        "newest checkpoints that are kept; an older one is used if the newest is damaged", 2, 1000},
       {"pipeline.max-skipped", execution, FIELD(pipeline.max_skipped), "10", "steps",
        "steps whose loss or gradient is not finite that are skipped before training stops", 0, many},
       {"pipeline.overlap", execution, FIELD(pipeline.overlap), "true", "",
        "add up the ranks' gradients while the backward pass still runs"},
       {"pipeline.bucket-size", execution, FIELD(pipeline.bucket_size), "0", "MiB",
        "gradients that are added up together; 0: 4 on a CPU, 25 on a GPU", 0, 1e6},
       {"pipeline.shard-optimizer", execution, FIELD(pipeline.shard_optimizer), "false", "",
        "each rank holds and computes its share of the optimizer's state only (ZeRO-1)"},
       {"pipeline.reproducible", result, FIELD(pipeline.reproducible), "false", "",
        "weights of the same bits on 1, 2, 4, ... ranks: the batch is computed in pipeline.slices gradient groups; on "
        "a "
        "GPU, of the same bits each time: only algorithms that repeat them"},
       {"pipeline.tf32", result, FIELD(pipeline.tf32), "false", "",
        "on a GPU, products and convolutions in float32 round their factors to 10 bits (TF32): several times as fast"},
       {"pipeline.slices", result, FIELD(pipeline.slices), "4", "gradient groups",
        "gradient groups of the global batch if pipeline.reproducible: a power of two, the largest number of ranks", 1,
        4096},
       {"pipeline.log-every", execution, FIELD(pipeline.log_every), "5", "s", "interval of progress lines", 0, 86400},
       {"pipeline.stop-grace", execution, FIELD(pipeline.stop_grace), "60", "s",
        "time a stage has for its checkpoint after Ctrl-C or SIGTERM before it is killed", 0, 86400},
       {"pipeline.timeout", execution, FIELD(pipeline.timeout), "600", "s",
        "time that a rank waits for another in a collective before all end, naming the one that did not come", 1, 1e6},
       {"pipeline.time-limit", execution, FIELD(pipeline.time_limit), "0", "s",
        "time after which a run (or a stage on its own) stops as on request: checkpoint, status 75; 0: none", 0, 1e9}});
}

void add_storage(std::vector<Option>& table) {
  table.insert(table.end(),
               {{"storage.verify-reads", execution, FIELD(storage.verify_reads), "true", "",
                 "compare the checksums of the rows that training reads"},
                path({"storage.cache-dir", execution, FIELD(storage.cache_dir), "", "",
                      "local directory that shards are copied to before training reads them; empty: none"}),
                {"storage.cache-size", execution, FIELD(storage.cache_size), "64", "GiB",
                 "space that the copies may take; shards that do not fit are read where they lie", 0, 1e9}});
}

void add_prepare(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"prepare.format", result, FIELD(prepare.format), "idx", "", "format of the source files", 0, 0, {"idx"}},
       {"prepare.codec",
        result,
        FIELD(prepare.codec),
        "uint8",
        "",
        "what shards hold of an image, and models see of it",
        0,
        0,
        {"uint8"}},
       {"prepare.name", result, FIELD(prepare.name), "", "",
        "name of the data set, as it stands in reports; empty: that of the source's folder"},
       path({"prepare.source", result, FIELD(prepare.source), "/usr/share/datasets/fashion-mnist", "",
             "directory of the source files"}),
       {"prepare.train-images", execution, FIELD(prepare.train_images), "train-images-idx3-ubyte.gz", "",
        "file of the training images, gzipped or not"},
       {"prepare.train-labels", execution, FIELD(prepare.train_labels), "train-labels-idx1-ubyte.gz", "",
        "file of the training labels; empty: the images have none"},
       {"prepare.test-images", execution, FIELD(prepare.test_images), "t10k-images-idx3-ubyte.gz", "",
        "file of the held-out images"},
       {"prepare.test-labels", execution, FIELD(prepare.test_labels), "t10k-labels-idx1-ubyte.gz", "",
        "file of the held-out labels; empty: the images have none"},
       {"prepare.train-rows", result, FIELD(prepare.train_rows), "0", "rows",
        "first rows that are used, in the order in which they are stored; 0: all", 0, many},
       {"prepare.test-rows", result, FIELD(prepare.test_rows), "0", "rows", "first held-out rows that are used; 0: all",
        0, many},
       {"prepare.shuffle", result, FIELD(prepare.shuffle), "true", "",
        "store rows in an order that is drawn, always the same; false: in the source's, which may be by class"},
       {"prepare.shard-rows", result, FIELD(prepare.shard_rows), "10000", "rows",
        "rows a data-set shard; a multiple of prepare.block-rows", 1, many},
       {"prepare.block-rows", result, FIELD(prepare.block_rows), "250", "rows",
        "rows that one checksum covers, the unit of reading", 1, 1e6},
       {"prepare.window-blocks", result, FIELD(prepare.window_blocks), "16", "blocks",
        "blocks within which rows are shuffled when training reads images", 1, 1e6}});
}

/// The keys that every trained model has.
void add_training(std::vector<Option>& table, const std::string& section, TrainingConfig& (*training)(Config&),
                  const TrainingConfig& defaults) {
  const auto field = [training](auto member) {
    return [training, member](Config& config) -> ConfigField { return &(training(config).*member); };
  };
  const auto key = [&section](const char* name) { return section + "." + name; };
  const auto text = [](auto value) { return fmt::format("{}", value); };
  table.insert(
      table.end(),
      {{key("images"), result, field(&TrainingConfig::images), text(defaults.images), "images",
        "training images in all; steps = images / batch, rounded up", 1, many},
       {key("batch"), result, field(&TrainingConfig::batch), text(defaults.batch), "images",
        "global batch, divided among the ranks", 1, 1e6},
       {key("learning-rate"), result, field(&TrainingConfig::learning_rate), text(defaults.learning_rate), "",
        "learning rate after the warm-up (AdamW)", 0, 10},
       {key("final-learning-rate"), result, field(&TrainingConfig::final_learning_rate),
        text(defaults.final_learning_rate), "", "learning rate at the last step, reached by a cosine", 0, 10},
       {key("warmup"), result, field(&TrainingConfig::warmup), text(defaults.warmup), "steps",
        "linear warm-up of the learning rate", 0, many},
       {key("weight-decay"), result, field(&TrainingConfig::weight_decay), text(defaults.weight_decay), "",
        "weight decay, on matrices only", 0, 10},
       {key("clip"), result, field(&TrainingConfig::clip), text(defaults.clip), "",
        "largest norm of the global gradient; 0: no clipping", 0, many},
       {key("ema"), result, field(&TrainingConfig::ema), fmt::format("{}", fmt::join(defaults.ema, " ")), "",
        "rates a step of moving averages of the weights; the first one is used, the others are published too", 0, 1},
       {key("micro-batch"), execution, field(&TrainingConfig::micro_batch), text(defaults.micro_batch), "images",
        "images that a rank computes at once, gradients being added up; 0: all it has", 0, 1e6},
       {key("checkpoint-activations"), execution, field(&TrainingConfig::checkpoint_activations),
        text(defaults.checkpoint_activations), "",
        "compute layers again in the backward pass instead of keeping what they computed: less memory"},
       {key("precision"),
        result,
        field(&TrainingConfig::precision),
        defaults.precision,
        "",
        "number type of the forward and backward pass; weights are float32",
        0,
        0,
        {"float32", "bfloat16"}},
       {key("validate-every"), execution, field(&TrainingConfig::validate_every), text(defaults.validate_every),
        "steps", "interval of figures on held-out rows, with averaged and with raw weights", 1, many},
       {key("validate-rows"), execution, field(&TrainingConfig::validate_rows), text(defaults.validate_rows), "rows",
        "held-out rows that these figures are over, at even distances; 0: all", 0, many}});
}

/// The keys of every model that makes images.
void add_preview(std::vector<Option>& table, const std::string& section, PreviewConfig& (*preview)(Config&)) {
  const auto field = [preview](auto member) {
    return [preview, member](Config& config) -> ConfigField { return &(preview(config).*member); };
  };
  table.insert(table.end(),
               {{section + ".preview-every", execution, field(&PreviewConfig::every), "4000", "steps",
                 "interval of pictures of samples and their quick score, with averaged weights; 0: never", 0, many},
                {section + ".preview-samples", execution, field(&PreviewConfig::samples), "500", "samples",
                 "samples of the quick score, more than features.dimension; 0: pictures only", 0, many}});
}

void add_features(std::vector<Option>& table) {
  table.insert(table.end(), {{"features.channels", result, FIELD(features.channels), "16", "",
                              "channels of the classifier's first convolution", 1, 4096},
                             {"features.dimension", result, FIELD(features.dimension), "64", "",
                              "length of the feature vector that samples are scored on", 2, 65536}});
  add_training(table, "features", [](Config& config) -> TrainingConfig& { return config.features.training; },
               {.images = 240000,
                .batch = 128,
                .learning_rate = 2e-3,
                .final_learning_rate = 1e-6,
                .warmup = 50,
                .weight_decay = 1e-4,
                .clip = 1,
                .ema = {0.99},
                .precision = "float32",
                .validate_every = 1000,
                .validate_rows = 1000});
}

void add_teacher(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"teacher.patch", result, FIELD(teacher.patch), "4", "pixels", "side of a patch (one token)", 1, 256},
       {"teacher.channels", result, FIELD(teacher.channels), "128", "",
        "width of the transformer; a multiple of teacher.head-size", 1, 65536},
       {"teacher.blocks", result, FIELD(teacher.blocks), "4", "", "flow blocks", 1, 256},
       {"teacher.layers", result, FIELD(teacher.layers), "2", "", "attention layers a block", 1, 256},
       {"teacher.head-size", result, FIELD(teacher.head_size), "64", "", "channels an attention head", 1, 65536},
       {"teacher.variant",
        result,
        FIELD(teacher.variant),
        "nvp",
        "",
        "nvp: affine with scale; vp: shift only, with a learnt prior variance",
        0,
        0,
        {"nvp", "vp"}},
       {"teacher.noise",
        result,
        FIELD(teacher.noise),
        "gaussian",
        "",
        "noise added to training images",
        0,
        0,
        {"gaussian", "uniform"}},
       {"teacher.noise-std", result, FIELD(teacher.noise_std), "0.05", "images on [-1, 1]",
        "standard deviation of teacher.noise (eta)", 0, 10},
       {"teacher.flips", result, FIELD(teacher.flips), "true", "", "train on mirror images too"},
       {"teacher.label-drop", result, FIELD(teacher.label_drop), "0.1", "",
        "probability that a label is dropped, for guidance", 0, 1},
       path({"teacher.init", result, FIELD(teacher.init), "", "",
             "safetensors file of the initial weights; empty: drawn"})});
  add_training(table, "teacher", [](Config& config) -> TrainingConfig& { return config.teacher.training; },
               {.images = 400000,
                .batch = 64,
                .learning_rate = 1e-3,
                .final_learning_rate = 1e-6,
                .warmup = 200,
                .weight_decay = 1e-4,
                .clip = 1,
                .ema = {0.999},
                .precision = "float32",
                .validate_every = 1000,
                .validate_rows = 1000});
  add_preview(table, "teacher", [](Config& config) -> PreviewConfig& { return config.teacher.preview; });
}

void add_couple(std::vector<Option>& table) {
  table.insert(table.end(),
               {{"couple.array", execution, FIELD(couple.array), "0", "jobs",
                 "jobs of a Slurm array that share the shards among them; 0: one job makes all", 0, 1000},
                {"couple.flips", result, FIELD(couple.flips), "true", "",
                 "rows for the mirror images too; as teacher.flips where it is not given"},
                {"couple.replicates", result, FIELD(couple.replicates), "1", "",
                 "rows an image, each with its own noise draw", 1, 10000},
                {"couple.noise-type",
                 result,
                 FIELD(couple.noise_type),
                 "float16",
                 "",
                 "element type of the stored noise",
                 0,
                 0,
                 {"float16", "float32"}},
                {"couple.shard-rows", result, FIELD(couple.shard_rows), "8192", "rows",
                 "rows a shard; a multiple of couple.block-rows", 1, many},
                {"couple.block-rows", result, FIELD(couple.block_rows), "256", "rows",
                 "rows that one checksum covers, the unit of reading", 1, 1e6},
                {"couple.slice-rows", result, FIELD(couple.slice_rows), "256", "rows",
                 "rows inverted at once, whatever the number of ranks", 1, 1e6},
                {"couple.allow-nonfinite", result, FIELD(couple.allow_nonfinite), "false", "",
                 "keep rows whose noise is not finite (they are counted) instead of refusing them"},
                {"couple.round-trip", result, FIELD(couple.round_trip), "0.01", "",
                 "share of each shard's rows whose stored noise is carried back to an image and compared", 0, 1},
                {"couple.precision",
                 result,
                 FIELD(couple.precision),
                 "float32",
                 "",
                 "number type of the inversion, and of a student's flow",
                 0,
                 0,
                 {"float32", "bfloat16"}},
                {"couple.solver",
                 result,
                 FIELD(couple.solver),
                 "dopri5",
                 "",
                 "solver that carries noise along a student's flow, for reflow",
                 0,
                 0,
                 {"dopri5", "euler", "midpoint", "heun", "rk4"}},
                {"couple.nfe", result, FIELD(couple.nfe), "100", "evaluations",
                 "evaluations a sample of that solver, on a uniform grid; dopri5 chooses its own", 1, 1e6},
                {"couple.tolerance", result, FIELD(couple.tolerance), "1e-5", "",
                 "absolute and relative tolerance of dopri5 there", 1e-12, 1},
                {"couple.guidance", result, FIELD(couple.guidance), "1", "", "guidance scale there; 1: none", 0, 1000},
                path({"couple.source", result, FIELD(couple.source), "", "",
                      "directory of a table made elsewhere (couplet import), for the coupling imported: "
                      "couple.NAME.source"})});
}

void add_semidiscrete(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"couple.sd-target", result, FIELD(couple.sd_target), "0.05", "",
        "learning of the table sd stops when the images' shares of the noise are this even (chi-squared)", 1e-6, 100},
       {"couple.sd-steps", result, FIELD(couple.sd_steps), "0", "steps",
        "most steps of that learning, whose rate falls to 0 over them; 0: 100 noises an image, 500 steps at least", 0,
        many},
       {"couple.sd-batch", result, FIELD(couple.sd_batch), "1024", "noises", "noises a step of it", 2, 1e6},
       {"couple.sd-rate", result, FIELD(couple.sd_rate), "1", "", "factor of its rate, which follows from the images",
        1e-6, 1000},
       {"couple.sd-dims", result, FIELD(couple.sd_dims), "0", "axes",
        "principal axes of the images that the choice of an image for a noise looks at; 0: all values", 0, 1e6},
       {"couple.sd-within",
        result,
        FIELD(couple.sd_within),
        "none",
        "",
        "what images a noise may choose among: all of them, or, class: each class has noises of its own",
        0,
        0,
        {"none", "class"}},
       {"couple.sd-draws", result, FIELD(couple.sd_draws), "4", "noises", "noises of the table sd an image, on average",
        1, 1e6},
       {"couple.sd-check-every", result, FIELD(couple.sd_check_every), "500", "steps",
        "interval at which chi-squared is measured", 1, many}});
}

void add_student(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"student.compare", execution, FIELD(compare), "nf independent", "",
        "names of the students that the run compares, each trained once a seed; a section [student.NAME] overrides any "
        "other key of this one for the student NAME"},
       {"student.coupling", result, FIELD(student.coupling), "", "",
        "pairs of noise and image that students are trained on; a coupling of a student's own name wins over it unless "
        "the student's own section sets the key; empty: none"},
       {"student.field", result, FIELD(student.field), "sit", "", "network that a student is"},
       {"student.path", result, FIELD(student.path), "linear", "",
        "path from image to noise that a student is trained along"},
       {"student.objective", result, FIELD(student.objective), "velocity", "", "what a student learns to predict"},
       {"student.seeds", execution, FIELD(student.seeds), "0", "", "seeds of the students", 0, largest_seed},
       {"student.patch", result, FIELD(student.patch), "4", "pixels", "side of a patch (one token)", 1, 256},
       {"student.channels", result, FIELD(student.channels), "96", "",
        "width of the transformer; a multiple of student.heads and of 4", 4, 65536},
       {"student.depth", result, FIELD(student.depth), "4", "", "transformer blocks", 1, 256},
       {"student.heads", result, FIELD(student.heads), "3", "", "attention heads", 1, 1024},
       {"student.label-drop", result, FIELD(student.label_drop), "0.1", "",
        "probability that a label is dropped, for guidance", 0, 1},
       {"student.time-mean", result, FIELD(student.time_mean), "-0.2", "", "mean of logit(t); t = 0 is data", -10, 10},
       {"student.time-std", result, FIELD(student.time_std), "1", "", "standard deviation of logit(t)", 0, 10},
       later({"student.mix", result, FIELD(student.mix), "0", "",
              "rho of the fresh noise that each visit mixes into the coupling's: sqrt(1 - rho^2) z + rho e", 0, 1}),
       later({"student.fresh-share", result, FIELD(student.fresh_share), "0", "",
              "probability that a visit takes fresh noise in place of the coupling's", 0, 1}),
       {"student.loom-slots", result, FIELD(student.loom_slots), "4", "",
        "coupling loom: noises that each image has, and each mirrored one", 1, 64},
       {"student.loom-resample-every", result, FIELD(student.loom_resample_every), "0", "epochs",
        "coupling loom: after so many, all noises are drawn anew; 0: never", 0, 1e6},
       {"student.loom-train-after", result, FIELD(student.loom_train_after), "0", "epochs",
        "coupling loom: noises are exchanged for so many before training, each time they are new", 0, 1000},
       {"student.loom-swaps", result, FIELD(student.loom_swaps), "true", "",
        "coupling loom: the images of a batch exchange their noises; false: each keeps its own"},
       {"student.window-blocks", result, FIELD(student.window_blocks), "16", "blocks",
        "table blocks within which rows are shuffled", 1, 1e6},
       {"student.ot-within",
        result,
        FIELD(student.ot_within),
        "none",
        "",
        "coupling ot: the rows of a problem that exchange their noise; none: all; class: those of one label, so that "
        "noise tells nothing of the label",
        0,
        0,
        {"none", "class"}},
       {"student.ot-steps", result, FIELD(student.ot_steps), "1", "steps",
        "coupling ot: consecutive steps whose rows are one problem", 1, 1024},
       path({"student.init", result, FIELD(student.init), "", "",
             "safetensors file of the initial weights; empty: drawn"}),
       later({"student.init-from", result, FIELD(student.init_from), "", "",
              "student of the run whose averaged weights, of its first seed, are the initial ones; empty: none's"}),
       {"student.reflow-of", result, FIELD(student.reflow_of), "", "",
        "student of the run whose flow makes the pairs of the coupling reflow"},
       {"student.table", result, FIELD(student.table), "", "",
        "table of the coupling imported, whose directory couple.NAME.source says; empty: the student's name"},
       later({"student.times", result, FIELD(student.times), "", "",
              "times that training draws from, all equally likely, such as 1 to learn one step alone (distillation); "
              "empty: logit-normal times",
              0, 1})});
  add_training(table, "student", [](Config& config) -> TrainingConfig& { return config.student.training; },
               {.images = 160000,
                .batch = 32,
                .learning_rate = 1e-3,
                .final_learning_rate = 1e-6,
                .warmup = 200,
                .weight_decay = 0,
                .clip = 1,
                .ema = {0.999},
                .precision = "float32",
                .validate_every = 1000,
                .validate_rows = 1000});
  add_preview(table, "student", [](Config& config) -> PreviewConfig& { return config.student.preview; });
}

void add_evaluate(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {path({"evaluate.network", result, FIELD(evaluate.network), "", "",
             "file of the network whose features Fréchet distances compare: a TorchScript program from uint8 images "
             "[n, C, H, W] to features, or safetensors of the FID Inception network; empty: the built-in classifier, "
             "for images of two classes or more"}),
       {"evaluate.network-args", result, FIELD(evaluate.network_args), "", "",
        "arguments of a TorchScript program besides the images: return_features=True, or values in their order"},
       path({"evaluate.reference", result, FIELD(evaluate.reference), "", "",
             "file of reference statistics by that network (couplet reference; npz of pytorch-fid, ADM, EDM); empty: "
             "made of the training images"}),
       {"evaluate.samples", result, FIELD(evaluate.samples), "5000", "samples", "samples a score", 2, many},
       {"evaluate.pairwise-images", result, FIELD(evaluate.pairwise_images), "10000", "images",
        "samples, training and held-out images, each, that kernel distance, precision, recall, density, coverage and "
        "nearest training images compare one by one, their features in memory; 0: the Fréchet distance alone",
        0, many},
       {"evaluate.sampling-seeds", result, FIELD(evaluate.sampling_seeds), "0", "",
        "seeds of the noise that samples start from: several score each model once with each", 0, largest_seed},
       {"evaluate.slice-rows", result, FIELD(evaluate.slice_rows), "250", "rows",
        "samples a rank makes in turn, whatever the number of ranks", 1, 1e6},
       {"evaluate.rows-at-once", execution, FIELD(evaluate.rows_at_once), "0", "rows",
        "on a GPU: rows that evaluations, previews and validation compute at once, which last digits depend on; 0: as "
        "many as fit into its memory",
        0, 1e6},
       {"evaluate.euler-nfe", result, FIELD(evaluate.euler_nfe), "1 2 4 8 16 31", "evaluations",
        "numbers of function evaluations with the Euler solver", 1, 10000},
       {"evaluate.heun-nfe", result, FIELD(evaluate.heun_nfe), "3 7 15 31", "evaluations",
        "numbers of function evaluations with Heun's method, whose last step is Euler's: odd numbers", 1, 10000},
       {"evaluate.midpoint-nfe", result, FIELD(evaluate.midpoint_nfe), "", "evaluations",
        "numbers of function evaluations with the midpoint method: even numbers", 1, 10000},
       {"evaluate.rk4-nfe", result, FIELD(evaluate.rk4_nfe), "", "evaluations",
        "numbers of function evaluations with the classical Runge-Kutta method: multiples of 4", 1, 10000},
       {"evaluate.grids",
        result,
        FIELD(evaluate.grids),
        "uniform squared",
        "",
        "time grids",
        0,
        0,
        {"uniform", "squared"}},
       {"evaluate.times", result, FIELD(evaluate.times), "", "",
        "a further time grid, 0 to 1 ascending, for Euler and Heun; empty: none", 0, 1},
       {"evaluate.dopri5", result, FIELD(evaluate.dopri5), "false", "", "score with the adaptive solver too"},
       {"evaluate.atol", result, FIELD(evaluate.atol), "1e-5", "", "absolute tolerance of dopri5, of likelihoods too",
        1e-14, 1},
       {"evaluate.rtol", result, FIELD(evaluate.rtol), "1e-5", "", "relative tolerance of dopri5, of likelihoods too",
        0, 1},
       {"evaluate.ema", result, FIELD(evaluate.ema), "", "",
        "rates of student.ema whose averaged weights are scored; 0: the raw weights; empty: the first rate", 0, 1},
       {"evaluate.guidance", result, FIELD(evaluate.guidance), "1", "",
        "guidance scales of the students, each scored; 1: none", 0, 100},
       {"evaluate.guidance-from", result, FIELD(evaluate.guidance_from), "0", "",
        "time from which students are guided; 0 is data", 0, 1},
       {"evaluate.guidance-to", result, FIELD(evaluate.guidance_to), "1", "",
        "time up to which students are guided; 1 is noise", 0, 1},
       {"evaluate.teacher-guidance", result, FIELD(evaluate.teacher_guidance), "0", "",
        "guidance strength of the teacher; 0: none", 0, 100},
       {"evaluate.teacher-annealed", result, FIELD(evaluate.teacher_annealed), "false", "",
        "teacher guidance grows with the token's position"},
       {"evaluate.teacher-temperature", result, FIELD(evaluate.teacher_temperature), "1", "",
        "attention temperature of the teacher's unconditional branch", 0.01, 100},
       {"evaluate.curvature-samples", result, FIELD(evaluate.curvature_samples), "500", "samples",
        "paths that curvature is averaged over; 0: not measured", 0, many},
       {"evaluate.curvature-steps", result, FIELD(evaluate.curvature_steps), "128", "steps",
        "Euler steps of a path whose curvature is measured", 1, 100000},
       {"evaluate.pairing-rows", result, FIELD(evaluate.pairing_rows), "1000", "rows",
        "table rows, training and held-out each, that pairing fidelity is measured on; 0: not measured", 0, many},
       {"evaluate.pairing-nfe", result, FIELD(evaluate.pairing_nfe), "8", "evaluations",
        "Euler steps of the samples whose pairing is measured", 1, 10000},
       {"evaluate.likelihood-rows", result, FIELD(evaluate.likelihood_rows), "0", "rows",
        "held-out images whose likelihood is measured, at even distances; 0: not measured", 0, many},
       {"evaluate.likelihood-probes", result, FIELD(evaluate.likelihood_probes), "1", "probes",
        "probes of Hutchinson's estimate of the trace in a student's likelihood; 0: the exact trace, for small images",
        0, 1000},
       {"evaluate.grid-rows", execution, FIELD(evaluate.grid_rows), "8", "rows", "rows of the sample pictures", 1, 100},
       {"evaluate.precision",
        result,
        FIELD(evaluate.precision),
        "float32",
        "",
        "number type of sampling",
        0,
        0,
        {"float32", "bfloat16"}}});
}

#undef FIELD

std::vector<Option> make_table() {
  std::vector<Option> table;
  add_pipeline(table);
  add_storage(table);
  add_prepare(table);
  add_features(table);
  add_teacher(table);
  add_couple(table);
  add_semidiscrete(table);
  add_student(table);
  add_evaluate(table);
  return table;
}

std::vector<Option>& table() {
  static std::vector<Option> made = make_table();
  return made;
}

}  // namespace

const std::vector<Option>& options() {
  return table();
}

void offer_choices(const std::string& key, std::vector<Choice> choices) {
  const auto option = std::ranges::find(table(), key, &Option::key);
  if (option == table().end()) fail("choices are offered for {}, which is no option", key);
  option->allowed.clear();
  for (const Choice& choice : choices) option->allowed.push_back(choice.name);
  option->choices = std::move(choices);
}

}  // namespace couplet
