// The configuration: one plain struct a section. Names, defaults, units, help and ranges are declared once, in
// options_table.cpp; `couplet config` prints them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace couplet {

struct PipelineConfig {
  std::int64_t seed = 0;
  std::int64_t ranks = 0;
  std::int64_t threads = 0;
  std::string device;
  std::int64_t checkpoint_every = 0;
  std::int64_t keep_checkpoints = 0;
  std::int64_t max_skipped = 0;  ///< steps
  bool overlap = true;           ///< reduce gradients while the backward pass runs
  double bucket_size = 0;        ///< MiB; 0: what suits the device (bucket_bytes)
  bool shard_optimizer = false;
  bool reproducible = false;
  bool tf32 = false;
  std::int64_t slices = 0;
  std::int64_t log_every = 0;
  double stop_grace = 0;
  double timeout = 0;
  double time_limit = 0;
};

/// How tables are read by the stages that train.
struct StorageConfig {
  bool verify_reads = true;
  std::string cache_dir;
  double cache_size = 0;  ///< GiB
};

struct PrepareConfig {
  std::string format, codec;
  std::string name;  ///< of the data set, as it stands in reports
  std::string source;
  std::string train_images, train_labels, test_images, test_labels;
  std::int64_t train_rows = 0;
  std::int64_t test_rows = 0;
  std::int64_t shard_rows = 0;
  std::int64_t block_rows = 0;     ///< rows a checksum covers
  std::int64_t window_blocks = 0;  ///< blocks that are shuffled together when training reads images
  std::string toy;                 ///< the plane's data set that format toy draws
  // Super-resolution: what students see of an image besides its label.
  std::string condition;    ///< "none" or "low-resolution"
  std::int64_t factor = 0;  ///< of the sides of an image and of its low resolution
  std::string degradation;  ///< "area" or "bicubic"
  bool shuffle = false;     ///< rows are stored in an order that is drawn, not in the source's
  // Of sources whose data come as one split.
  double held_out = 0;  ///< share of each class
  std::int64_t held_out_seed = 0;
  // Of image files.
  std::string labels;  ///< what their classes are taken from (label_rules)
  std::string train_folder, test_folder;
  std::int64_t channels = 0;  ///< that all files must have; 0: what they have
  std::int64_t size = 0;      ///< of a side, in pixels; 0: that of the files
  std::string crop, filter;
  bool skip_broken = false;
  // Of files of arrays.
  std::string array_train_images, array_train_labels, array_test_images, array_test_labels;
  std::string array_layout, array_range;
  std::string label_order;  ///< of ImageNet's batches: "devkit" or "wnid"
};

/// What every trained model has: the names are the same in each section.
struct TrainingConfig {
  std::int64_t images = 0;  ///< training images in all; steps = images / batch
  std::int64_t batch = 0;   ///< global batch
  double learning_rate = 0;
  double final_learning_rate = 0;
  std::int64_t warmup = 0;  ///< steps
  double weight_decay = 0;
  double clip = 0;                          ///< largest norm of the global gradient; 0: no clipping
  std::vector<double> betas = {0.9, 0.95};  ///< of AdamW: of the mean of gradients, and of their squares
  std::vector<double> ema;                  ///< EMA rates a step; the first is the one used downstream
  std::string precision;                    ///< "float32" or "bfloat16" (autocast)
  std::int64_t micro_batch = 0;             ///< rows a rank computes at once; 0: all it has
  bool checkpoint_activations = false;
  std::int64_t validate_every = 0;  ///< steps
  std::int64_t validate_rows = 0;   ///< held-out rows; 0: all
};

/// Samples of a model while it trains.
struct PreviewConfig {
  std::int64_t every = 0;    ///< steps; 0: never
  std::int64_t samples = 0;  ///< for the quick score
};

/// What models see in place of pixels.
struct LatentsConfig {
  std::string codec;  ///< "none", "autoencoder" or "script"
  std::string file;   ///< of the script
  std::string range;  ///< of pixels: "signed" or "unit"
  std::vector<double> scale, shift;
  std::string draw;  ///< "sample" or "mean"
  bool flips = true;
};

struct FeaturesConfig {
  TrainingConfig training;
  std::int64_t channels = 0;
  std::int64_t dimension = 0;
};

struct AutoencoderConfig {
  TrainingConfig training;
  std::int64_t factor = 0;  ///< of the sides of an image and of its latent
  std::int64_t channels = 0, latent_channels = 0;
  double kl = 0;  ///< weight of the latents' divergence from N(0, I); 0: latents have no deviation
};

struct TeacherConfig {
  TrainingConfig training;
  std::int64_t patch = 0, channels = 0, blocks = 0, head_size = 0;
  std::vector<std::int64_t> layers;  ///< of each block; one number: of every block
  std::string variant;               ///< "nvp" or "vp"
  std::string noise;                 ///< "gaussian" or "uniform"
  double noise_std = 0;              ///< η, in units of images on [-1, 1]
  bool flips = true;
  double label_drop = 0;
  double clip_scale = 0, clip_shift = 0;  ///< bounds of a block's log-scale and shift; 0: none
  double dropout = 0;
  PreviewConfig preview;
  std::string init;
};

/// A second flow, trained on the noise of a coupling table.
struct GaussianiserConfig {
  TrainingConfig training;
  std::int64_t patch = 0, channels = 0, blocks = 0, head_size = 0;
  std::vector<std::int64_t> layers;  ///< as of the teacher
  std::int64_t window_blocks = 0;
};

struct CoupleConfig {
  std::int64_t array = 0;  ///< jobs of a Slurm array; 0: one job, no array
  bool flips = true;
  std::int64_t replicates = 1;
  std::string noise_type;  ///< "float16" or "float32"
  std::int64_t shard_rows = 0;
  std::int64_t block_rows = 0;
  std::int64_t slice_rows = 0;
  bool allow_nonfinite = false;
  double round_trip = 0;
  std::string precision;
  std::string solver;  ///< of a student's flow: "dopri5", or one of fixed steps
  std::int64_t nfe = 0;
  double tolerance = 0;  ///< of dopri5, absolute and relative
  double guidance = 1;
  double ema = -1;     ///< rate of the teacher's averaged weights that invert; 0: the raw ones; -1: the first rate
  std::string source;  ///< directory of a table from elsewhere; "": it is made in the run
  // Of the table sd, whose potentials are learnt:
  double sd_target = 0;             ///< χ² of the images' shares of the noise at which learning stops
  std::int64_t sd_steps = 0;        ///< most steps; 0: as many as the number of images asks for
  std::int64_t sd_batch = 0;        ///< noises a step
  double sd_rate = 0;               ///< factor of the rate that the images ask for
  std::int64_t sd_dims = 0;         ///< principal axes that noise and images are compared in; 0: all values
  std::string sd_within;            ///< "none" or "class"
  std::int64_t sd_draws = 0;        ///< noises an image
  std::int64_t sd_check_every = 0;  ///< steps
  // Of tables of mapped noise:
  double affine_prior = 0;                              ///< rows
  std::string affine_covariance;                        ///< "none" or "pooled"
  std::int64_t rotation_layers = 0, rotation_rows = 0;  ///< 0 rows: all
};

/// What a student is trained by: [student], overridden by its own section (`student_config`).
struct StudentConfig {
  TrainingConfig training;
  std::string kind = "flow";           ///< "flow" or "image"
  std::string coupling;                ///< "": the one that has the student's name
  std::string field, path, objective;  ///< names of members of the registries in method/
  std::vector<std::int64_t> seeds;
  std::int64_t patch = 0, channels = 0, depth = 0, heads = 0;
  double label_drop = 0;
  double time_mean = 0, time_std = 0;
  double mix = 0, fresh_share = 0;       ///< of fresh noise in the coupling's
  std::vector<std::string> gaussianise;  ///< maps of the noise of the coupling's table, one behind the other
  std::int64_t loom_slots = 0, loom_resample_every = 0, loom_train_after = 0;
  bool loom_swaps = true;
  std::string loom_within;
  std::int64_t window_blocks = 0;
  std::string ot_within;      ///< "none" or "class"
  std::int64_t ot_steps = 1;  ///< steps whose rows are one assignment problem
  PreviewConfig preview;
  std::string init;
  std::string init_from;      ///< student whose averaged weights it starts from; "": none
  std::string reflow_of;      ///< student whose flow makes the table of a reflow coupling
  std::string table;          ///< of an imported coupling; "": the one that has the student's name
  std::vector<double> times;  ///< that training draws from, all equally likely; empty: those of the time law
  std::string time_law;       ///< "logit-normal", "uniform" or "importance"
  double train_guidance = 1;  ///< scale that its network learns to put out by itself; 1: none
  // Of paths:
  double sigma_min = 0, vp_beta_min = 0, vp_beta_max = 0, ve_sigma_min = 0, ve_sigma_max = 0;
  // Of the objective likelihood:
  std::int64_t cnf_steps = 0;
  std::string cnf_trace;    ///< "exact" or "hutchinson"
  bool dequantise = false;  ///< images come spread over their levels
  // Of the kind image:
  std::string image_loss;  ///< "mse" or "huber"
  double huber_delta = 0;
  double feature_weight = 0;    ///< of a distance between features in its loss
  std::string feature_network;  ///< file; "": a classifier that the run trains for it
  std::string feature_range;    ///< "signed", "unit" or "bytes": of values as that file takes them
  double align_weight = 0;      ///< of a distance from the teacher's states in its loss
  // Of flow maps:
  double map_share = 0, map_weight_power = 0, map_step = 0;
  // Of the field unet:
  std::vector<std::int64_t> multipliers, attention;
  std::int64_t blocks = 0, head_channels = 0;
  bool scale_shift = true, residual_resampling = true, new_attention_order = false;
  double dropout = 0, time_scale = 0;
  bool channels_last = false;  ///< how convolutions lay out memory
  double source_noise = 0;     ///< of the coupling low-resolution
};

struct EvaluateConfig {
  std::string network;                    ///< file; "": the built-in classifier
  std::vector<std::string> network_args;  ///< "return_features=True"
  std::string reference;                  ///< file; "": made of the training images
  std::int64_t samples = 0;
  std::int64_t pairwise_images = 0;  ///< of each set, compared image by image; 0: none
  std::vector<std::int64_t> sampling_seeds;
  std::int64_t slice_rows = 0;
  std::int64_t rows_at_once = 0;  ///< on a GPU; 0: as many as fit
  std::vector<std::int64_t> euler_nfe;
  std::vector<std::int64_t> heun_nfe;
  std::vector<std::int64_t> midpoint_nfe, rk4_nfe;
  std::vector<std::string> grids;
  std::vector<double> times;  ///< a time grid of the user's own, from 0 to 1; empty: none
  bool dopri5 = false;
  double atol = 0, rtol = 0;           ///< of dopri5
  std::vector<double> tolerances;      ///< of dopri5, whose evaluations and errors are measured
  std::int64_t tolerance_samples = 0;  ///< that they are measured on; 0: not measured
  std::vector<double> ema;       ///< rates whose averages are scored; 0: the raw weights; empty: a student's first rate
  std::vector<double> guidance;  ///< scales; 1: none
  double guidance_from = 0, guidance_to = 1;  ///< times at which students are guided
  std::vector<double> temperature;            ///< factors of the noise that students start from
  double teacher_guidance = 0;
  bool teacher_annealed = false;
  double teacher_temperature = 1;
  std::int64_t curvature_samples = 0, curvature_steps = 0;
  std::int64_t pairing_rows = 0, pairing_nfe = 0;
  std::int64_t likelihood_rows = 0, likelihood_probes = 0;
  std::int64_t likelihood_samples = 1;  ///< dequantisations of an image, averaged over
  std::vector<std::int64_t> ancestral_nfe, sde_nfe, corrector_nfe;
  std::int64_t grid_rows = 0;
  std::string precision;
  std::int64_t gap_rows = 0;                   ///< of each split of a table, whose noise is measured; 0: all
  bool noise_classifier = false;               ///< tables' noise is told from N(0, I) by a classifier
  std::vector<std::int64_t> candidates = {1};  ///< noises that a sample is started from one of; 1: its own
};

/// What tells a table's noise from N(0, I).
struct NoiseClassifierConfig {
  TrainingConfig training;
  std::int64_t channels = 0;
};

/// By name, what a section of that name sets.
using Sections = std::map<std::string, std::map<std::string, std::string>>;

struct Config {
  PipelineConfig pipeline;
  StorageConfig storage;
  PrepareConfig prepare;
  LatentsConfig latents;
  FeaturesConfig features;
  AutoencoderConfig autoencoder;
  TeacherConfig teacher;
  CoupleConfig couple;
  GaussianiserConfig gaussianiser;
  StudentConfig student;
  std::vector<std::string> compare;  ///< names of the run's students
  /// Of every student that has a section of its own: the keys set there ("channels"), with canonical texts.
  Sections student_sections;
  Sections couple_sections;  ///< likewise of coupling tables
  NoiseClassifierConfig noise_classifier;
  EvaluateConfig evaluate;
};

}  // namespace couplet
