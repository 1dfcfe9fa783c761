// The keys of [features], [teacher] and [student].
#include "pipeline/config/options_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace couplet::option_sections {

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
        section == "teacher" ? "training images in all; steps = images / batch, rounded up; 0: teacher.init as it is"
                             : "training images in all; steps = images / batch, rounded up",
        section == "teacher" ? 0.0 : 1.0, no_limit},
       {key("batch"), result, field(&TrainingConfig::batch), text(defaults.batch), "images",
        "global batch, divided among the ranks", 1, 1e6},
       {key("learning-rate"), result, field(&TrainingConfig::learning_rate), text(defaults.learning_rate), "",
        "learning rate after the warm-up (AdamW)", 0, 10},
       {key("final-learning-rate"), result, field(&TrainingConfig::final_learning_rate),
        text(defaults.final_learning_rate), "", "learning rate at the last step, reached by a cosine", 0, 10},
       {key("warmup"), result, field(&TrainingConfig::warmup), text(defaults.warmup), "steps",
        "linear warm-up of the learning rate", 0, no_limit},
       {key("weight-decay"), result, field(&TrainingConfig::weight_decay), text(defaults.weight_decay), "",
        "weight decay, on matrices only", 0, 10},
       {key("clip"), result, field(&TrainingConfig::clip), text(defaults.clip), "",
        "largest norm of the global gradient; 0: no clipping", 0, no_limit},
       later({key("betas"), result, field(&TrainingConfig::betas), fmt::format("{}", fmt::join(defaults.betas, " ")),
              "", "rates of AdamW's averages of gradients and of their squares", 0, 1}),
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
        "steps", "interval of figures on held-out rows, with averaged and with raw weights", 1, no_limit},
       {key("validate-rows"), execution, field(&TrainingConfig::validate_rows), text(defaults.validate_rows), "rows",
        "held-out rows that these figures are over, at even distances; 0: all", 0, no_limit}});
}

/// The keys of every model that makes images.
void add_preview(std::vector<Option>& table, const std::string& section, PreviewConfig& (*preview)(Config&)) {
  const auto field = [preview](auto member) {
    return [preview, member](Config& config) -> ConfigField { return &(preview(config).*member); };
  };
  table.insert(table.end(),
               {{section + ".preview-every", execution, field(&PreviewConfig::every), "4000", "steps",
                 "interval of pictures of samples and their quick score, with averaged weights; 0: never", 0, no_limit},
                {section + ".preview-samples", execution, field(&PreviewConfig::samples), "500", "samples",
                 "samples of the quick score, more than features.dimension; 0: pictures only", 0, no_limit}});
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
       {"teacher.layers", result, FIELD(teacher.layers), "2", "",
        "attention layers a block; a number for each block where they differ", 1, 256},
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
       later({"teacher.clip-scale", result, FIELD(teacher.clip_scale), "0", "",
              "bound c of the log-scale a of every block, c tanh(a / c), so that no block stretches or shrinks a value "
              "by more than exp(c); 0: none",
              0, 1000}),
       later({"teacher.clip-shift", result, FIELD(teacher.clip_shift), "0", "",
              "bound of every block's shift, likewise; 0: none", 0, 1e6}),
       later({"teacher.dropout", result, FIELD(teacher.dropout), "0", "",
              "probability that an attention layer drops a value that its attention or its MLP adds, while it is "
              "trained",
              0, 0.99}),
       path({"teacher.init", result, FIELD(teacher.init), "", "",
             "file of the initial weights, safetensors or a state dict of PyTorch (.pth); empty: drawn"})});
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

void add_student(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"student.compare", execution, FIELD(compare), "nf independent", "",
        "names of the students that the run compares, each trained once a seed; empty: none, the run trains and scores "
        "its teacher; a section [student.NAME] overrides any other key of this one for the student NAME"},
       later({"student.kind", result, FIELD(student.kind), "flow", "", "what a student makes of noise"}),
       {"student.coupling", result, FIELD(student.coupling), "", "",
        "pairs of noise and image that students are trained on; a coupling of a student's own name wins over it unless "
        "the student's own section sets the key; empty: none"},
       recorded_as("student.field",
                   {"student.network", result, FIELD(student.field), "sit", "", "network that a student is"}),
       {"student.path", result, FIELD(student.path), "linear", "",
        "path from image to noise that a student is trained along"},
       {"student.objective", result, FIELD(student.objective), "velocity", "", "what a student learns to predict"},
       {"student.seeds", execution, FIELD(student.seeds), "0", "", "seeds of the students", 0, largest_seed},
       {"student.patch", result, FIELD(student.patch), "4", "pixels", "side of a patch (one token)", 1, 256},
       {"student.channels", result, FIELD(student.channels), "96", "",
        "width of the network. sit: a multiple of student.heads and of 4; unet: of 32 with each of "
        "student.multipliers; mlp: units of a layer",
        4, 65536},
       {"student.depth", result, FIELD(student.depth), "4", "",
        "networks sit and mlp: transformer blocks, hidden layers", 1, 256},
       {"student.heads", result, FIELD(student.heads), "3", "", "networks sit and unet: attention heads", 1, 1024},
       later({"student.multipliers", result, FIELD(student.multipliers), "1 2 2", "",
              "network unet: channels of each level, in units of student.channels; each level has half the side of the "
              "one before",
              1, 1024}),
       later(
           {"student.blocks", result, FIELD(student.blocks), "2", "", "network unet: residual blocks a level", 1, 64}),
       later(
           {"student.attention", result, FIELD(student.attention), "2", "",
            "network unet: downsampling factors of the levels with attention, 1 being the images' own size; the middle "
            "has it always; empty: nowhere else",
            1, 1024}),
       later({"student.head-channels", result, FIELD(student.head_channels), "0", "",
              "network unet: channels of an attention head; 0: those of the level / student.heads", 0, 65536}),
       later({"student.scale-shift", result, FIELD(student.scale_shift), "true", "",
              "network unet: time and label scale and shift what a block computes; false: they are added to it"}),
       later({"student.residual-resampling", result, FIELD(student.residual_resampling), "true", "",
              "network unet: levels change in residual blocks; false: in single convolutions"}),
       later({"student.new-attention-order", result, FIELD(student.new_attention_order), "false", "",
              "network unet: layout of queries, keys and values that weights were trained with; false: "
              "guided-diffusion's "
              "legacy one. Another one loads silently and computes something else"}),
       later({"student.dropout", result, FIELD(student.dropout), "0", "",
              "network unet: probability that a residual block drops a value while it is trained", 0, 0.99}),
       later({"student.time-scale", result, FIELD(student.time_scale), "1000", "",
              "network unet: factor of the times, in [0, 1], that its sinusoids see: 1000 as in guided-diffusion, 1 as "
              "in "
              "the published flow-matching codes",
              0.001, 1e6}),
       later({"student.channels-last", result, FIELD(student.channels_last), "false", "",
              "network unet: convolutions have images laid out pixel by pixel, which decides speed and last digits"}),
       {"student.label-drop", result, FIELD(student.label_drop), "0.1", "",
        "probability that a label is dropped, for guidance", 0, 1},
       later({"student.sigma-min", result, FIELD(student.sigma_min), "0", "images on [-1, 1]",
              "path linear: standard deviation of the noise that is left at t = 0", 0, 0.5}),
       later(
           {"student.vp-beta-min", result, FIELD(student.vp_beta_min), "0.1", "", "path vp: beta at t = 0", 1e-3, 50}),
       later(
           {"student.vp-beta-max", result, FIELD(student.vp_beta_max), "20", "", "path vp: beta at t = 1", 1e-3, 100}),
       later({"student.ve-sigma-min", result, FIELD(student.ve_sigma_min), "0.01", "images on [-1, 1]",
              "path ve: sigma at t = 0, of the noise that is left in images", 1e-4, 1}),
       later({"student.ve-sigma-max", result, FIELD(student.ve_sigma_max), "50", "images on [-1, 1]",
              "path ve: sigma at t = 1, of the noise that sampling starts from", 1e-3, 1e4}),
       later({"student.time-law",
              result,
              FIELD(student.time_law),
              "logit-normal",
              "",
              "law of training times; logit-normal: by student.time-mean and student.time-std; uniform; importance: as "
              "the objective scoreflow weights them, so that its loss scatters less",
              0,
              0,
              {"logit-normal", "uniform", "importance"}}),
       {"student.time-mean", result, FIELD(student.time_mean), "-0.2", "",
        "time law logit-normal: mean of logit(t); t = 0 is data", -10, 10},
       {"student.time-std", result, FIELD(student.time_std), "1", "",
        "time law logit-normal: standard deviation of logit(t)", 0, 10},
       later({"student.mix", result, FIELD(student.mix), "0", "",
              "rho of the fresh noise that each visit mixes into the coupling's: sqrt(1 - rho^2) z + rho e", 0, 1}),
       later({"student.fresh-share", result, FIELD(student.fresh_share), "0", "",
              "probability that a visit takes fresh noise in place of the coupling's", 0, 1}),
       later(
           {"student.gaussianise", result, FIELD(student.gaussianise), "", "",
            "maps that make the noise of the coupling's table more Gaussian, one behind the other; each fills a table "
            "of its own, such as nf-affine; empty: the noise as it is"}),
       {"student.loom-slots", result, FIELD(student.loom_slots), "4", "",
        "coupling loom: noises that each image has, and each mirrored one", 1, 64},
       {"student.loom-resample-every", result, FIELD(student.loom_resample_every), "0", "epochs",
        "coupling loom: after so many, all noises are drawn anew; 0: never", 0, 1e6},
       {"student.loom-train-after", result, FIELD(student.loom_train_after), "0", "epochs",
        "coupling loom: noises are exchanged for so many before training, each time they are new", 0, 1000},
       {"student.loom-swaps", result, FIELD(student.loom_swaps), "true", "",
        "coupling loom: the images of a batch exchange their noises; false: each keeps its own"},
       later({"student.loom-within",
              result,
              FIELD(student.loom_within),
              "none",
              "",
              "coupling loom: the images of a batch that exchange their noises; none: all; class: those of one label, "
              "so that noise tells nothing of the label",
              0,
              0,
              {"none", "class"}}),
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
             "file of the initial weights, safetensors or a state dict of PyTorch (.pth); empty: drawn"}),
       later({"student.init-from", result, FIELD(student.init_from), "", "",
              "student of the run whose averaged weights, of its first seed, are the initial ones; empty: none's"}),
       {"student.reflow-of", result, FIELD(student.reflow_of), "", "",
        "student of the run whose flow makes the pairs of the coupling reflow"},
       {"student.table", result, FIELD(student.table), "", "",
        "table of the coupling imported, whose directory couple.NAME.source says; empty: the student's name"},
       later({"student.times", result, FIELD(student.times), "", "",
              "times that training draws from, all equally likely, such as 1 to learn one step alone (distillation); "
              "empty: those of student.time-law",
              0, 1}),
       later({"student.dequantise", result, FIELD(student.dequantise), "false", "",
              "train on images with uniform noise as wide as one of their levels, so that a density fits them; the "
              "objective likelihood always does"}),
       later({"student.cnf-steps", result, FIELD(student.cnf_steps), "16", "steps",
              "objective likelihood: steps of rk4 along which a flow is trained", 1, 10000}),
       later({"student.cnf-trace",
              result,
              FIELD(student.cnf_trace),
              "hutchinson",
              "",
              "objective likelihood: trace of the flow in training; exact: a backward pass for each value of an image "
              "at every evaluation; hutchinson: an estimate with one probe an image",
              0,
              0,
              {"exact", "hutchinson"}}),
       later({"student.train-guidance", result, FIELD(student.train_guidance), "1", "",
              "scale of guidance that the network learns to put out by itself, so that a sample needs no second "
              "evaluation for it; 1: none",
              1, 100}),
       later(
           {"student.image-loss",
            result,
            FIELD(student.image_loss),
            "mse",
            "",
            "kind image: error of the images' values; huber: of errors above student.huber-delta twice that times the "
            "error, less its square",
            0,
            0,
            {"mse", "huber"}}),
       later({"student.huber-delta", result, FIELD(student.huber_delta), "0.1", "images on [-1, 1]",
              "kind image, loss huber: error from which on it is counted as it is, not squared", 1e-4, 10}),
       later({"student.feature-weight", result, FIELD(student.feature_weight), "0", "",
              "kind image: weight of the distance between features of what the network makes and of the image; 0: none",
              0, 1e6}),
       later(path({"student.feature-network", result, FIELD(student.feature_network), "", "",
                   "kind image: TorchScript file of the network whose features are compared, another than the one that "
                   "scores; empty: a classifier that the run trains for it"})),
       later({"student.feature-range",
              result,
              FIELD(student.feature_range),
              "signed",
              "",
              "kind image: values that the file student.feature-network takes; signed: on [-1, 1]; unit: on [0, 1]; "
              "bytes: on [0, 255]",
              0,
              0,
              {"signed", "unit", "bytes"}}),
       later(
           {"student.align-weight", result, FIELD(student.align_weight), "0", "",
            "kind image: weight of the distance between what learnt linear maps make of the network's layers and what "
            "the teacher's blocks make of the pair's image; 0: none",
            0, 1e6}),
       later(
           {"student.map-share", result, FIELD(student.map_share), "0.25", "",
            "objectives shortcut, consistency and meanflow: share of the rows that learn mean velocities over spans of "
            "time; the others learn the velocity",
            0.01, 0.99}),
       later(
           {"student.map-weight-power", result, FIELD(student.map_weight_power), "1", "",
            "objectives consistency and meanflow: a row's loss is divided by this power of its own error; 0: all rows "
            "count alike, and the velocity is the mean one, which has a score",
            0, 2}),
       later({"student.map-step", result, FIELD(student.map_step), "0.01", "",
              "objective consistency: share of a span after which the map is asked again, on the pair's line", 1e-3,
              0.5}),
       later({"student.source-noise", result, FIELD(student.source_noise), "0.25", "images on [-1, 1]",
              "coupling low-resolution: standard deviation of the noise on the enlarged low resolution that sampling "
              "starts from",
              0, 10})});
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

}  // namespace couplet::option_sections
