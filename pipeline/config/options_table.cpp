// The table of options. `couplet config` prints it.
#include "pipeline/config/options_table.h"

#include "storage/error.h"

#include <algorithm>
#include <utility>

namespace couplet {
namespace option_sections {

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
        "interval of checkpoints", 1, no_limit},
       {"pipeline.keep-checkpoints", execution, FIELD(pipeline.keep_checkpoints), "2", "checkpoints",
        "newest checkpoints that are kept; an older one is used if the newest is damaged", 2, 1000},
       {"pipeline.max-skipped", execution, FIELD(pipeline.max_skipped), "10", "steps",
        "steps whose loss or gradient is not finite that are skipped before training stops", 0, no_limit},
       {"pipeline.overlap", execution, FIELD(pipeline.overlap), "true", "",
        "add up the ranks' gradients while the backward pass still runs"},
       {"pipeline.bucket-size", execution, FIELD(pipeline.bucket_size), "0", "MiB",
        "gradients that are added up together; 0: 4 on a CPU, 25 on a GPU", 0, 1e6},
       {"pipeline.shard-optimizer", execution, FIELD(pipeline.shard_optimizer), "false", "",
        "each rank holds and computes its share of the optimizer's state only (ZeRO-1)"},
       {"pipeline.reproducible", result, FIELD(pipeline.reproducible), "false", "",
        "weights of the same bits on 1, 2, 4, ... ranks: the batch is computed in pipeline.slices gradient groups; on "
        "a GPU, of the same bits each time: only algorithms that repeat them"},
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
      {{"prepare.format",
        result,
        FIELD(prepare.format),
        "idx",
        "",
        "where images come from: the format of the source files, or points that are drawn",
        0,
        0,
        {"idx"}},
       {"prepare.codec",
        result,
        FIELD(prepare.codec),
        "uint8",
        "",
        "what shards hold of an image, and models see of it",
        0,
        0,
        {"uint8"}},
       later({"prepare.toy",
              result,
              FIELD(prepare.toy),
              "8gaussians",
              "",
              "the distribution over the plane that the format toy draws points of",
              0,
              0,
              {"8gaussians"}}),
       {"prepare.name", result, FIELD(prepare.name), "", "",
        "name of the data set, as it stands in reports; empty: that of the source's folder, or prepare.toy"},
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
        "first rows that are used, in the order in which they are stored; 0: all (20000 points of a toy)", 0, no_limit},
       {"prepare.test-rows", result, FIELD(prepare.test_rows), "0", "rows",
        "first held-out rows that are used; 0: all (5000 points of a toy)", 0, no_limit},
       {"prepare.shuffle", result, FIELD(prepare.shuffle), "true", "",
        "store rows in an order that is drawn, always the same; false: in the source's, which may be by class"},
       {"prepare.shard-rows", result, FIELD(prepare.shard_rows), "10000", "rows",
        "rows a data-set shard; a multiple of prepare.block-rows", 1, no_limit},
       {"prepare.block-rows", result, FIELD(prepare.block_rows), "250", "rows",
        "rows that one checksum covers, the unit of reading", 1, 1e6},
       {"prepare.window-blocks", result, FIELD(prepare.window_blocks), "16", "blocks",
        "blocks within which rows are shuffled when training reads images", 1, 1e6},
       later({"prepare.condition",
              result,
              FIELD(prepare.condition),
              "none",
              "",
              "what students are given of an image besides its label; low-resolution: super-resolution, for which "
              "prepare.factor and prepare.degradation say how it was lost",
              0,
              0,
              {"none", "low-resolution"}}),
       later({"prepare.factor", result, FIELD(prepare.factor), "4", "",
              "low resolution: sides of an image are that many times those of it; 2, 4 or 8", 2, 8}),
       later({"prepare.degradation",
              result,
              FIELD(prepare.degradation),
              "area",
              "",
              "low resolution: area, means of blocks of pixels, or bicubic, with anti-aliasing; rounded to 8 bits",
              0,
              0,
              {"area", "bicubic"}})});
}

}  // namespace option_sections

namespace {

std::vector<Option> make_table() {
  using namespace option_sections;
  std::vector<Option> table;
  add_pipeline(table);
  add_storage(table);
  add_prepare(table);
  add_features(table);
  add_teacher(table);
  add_couple(table);
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
