// The keys of [couple] and [gaussianiser].
#include "pipeline/config/options_table.h"

namespace couplet::option_sections {

namespace {

void add_semidiscrete(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"couple.sd-target", result, FIELD(couple.sd_target), "0.05", "",
        "learning of the table sd stops when the images' shares of the noise are this even (chi-squared)", 1e-6, 100},
       {"couple.sd-steps", result, FIELD(couple.sd_steps), "0", "steps",
        "most steps of that learning, whose rate falls to 0 over them; 0: 100 noises an image, 500 steps at least", 0,
        no_limit},
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
        "interval at which chi-squared is measured", 1, no_limit}});
}

void add_maps(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {later(
           {"couple.affine-prior", result, FIELD(couple.affine_prior), "20", "rows",
            "map affine: rows like those of all classes that each class is given besides its own, so that few rows do "
            "not say too much",
            1, no_limit}),
       later({"couple.affine-covariance",
              result,
              FIELD(couple.affine_covariance),
              "none",
              "",
              "map affine: pooled: values are made uncorrelated, by one covariance for all classes; of at most 1024 "
              "values",
              0,
              0,
              {"none", "pooled"}}),
       later({"couple.rotation-layers", result, FIELD(couple.rotation_layers), "4", "layers",
              "map rotations: most layers; one that rows it was not fitted to do not gain by is left out", 1, 64}),
       later({"couple.rotation-rows", result, FIELD(couple.rotation_rows), "0", "rows",
              "map rotations: training rows, at even distances, that layers are fitted to and judged by; 0: all", 0,
              no_limit})});
}

}  // namespace

void add_gaussianiser(std::vector<Option>& table) {
  table.insert(table.end(),
               {{"gaussianiser.patch", result, FIELD(gaussianiser.patch), "4", "values",
                 "side of a patch of noise (one token)", 1, 256},
                {"gaussianiser.channels", result, FIELD(gaussianiser.channels), "128", "",
                 "width of the transformer; a multiple of gaussianiser.head-size", 1, 65536},
                {"gaussianiser.blocks", result, FIELD(gaussianiser.blocks), "2", "", "flow blocks", 1, 256},
                {"gaussianiser.layers", result, FIELD(gaussianiser.layers), "2", "",
                 "attention layers a block; a number for each block where they differ", 1, 256},
                {"gaussianiser.head-size", result, FIELD(gaussianiser.head_size), "64", "",
                 "channels an attention head", 1, 65536},
                {"gaussianiser.window-blocks", result, FIELD(gaussianiser.window_blocks), "16", "blocks",
                 "table blocks within which rows are shuffled", 1, 1e6}});
  add_training(table, "gaussianiser", [](Config& config) -> TrainingConfig& { return config.gaussianiser.training; },
               {.images = 200000,
                .batch = 64,
                .learning_rate = 5e-4,
                .final_learning_rate = 1e-6,
                .warmup = 100,
                .weight_decay = 1e-4,
                .clip = 1,
                .ema = {0.999},
                .precision = "float32",
                .validate_every = 250,
                .validate_rows = 2000});
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
                 "rows a shard; a multiple of couple.block-rows", 1, no_limit},
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
  table.push_back(later({"couple.ema", result, FIELD(couple.ema), "-1", "",
                         "rate of teacher.ema whose averaged weights fill the table nf; 0: the raw weights; -1: the "
                         "first rate",
                         -1, 1}));
  add_semidiscrete(table);
  add_maps(table);
}

}  // namespace couplet::option_sections
